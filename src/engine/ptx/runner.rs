//! Runs PTX on the CPU, instruction by instruction: a driver for machines without a GPU. It knows the instructions that our
//! kernels use; any other, an access outside a buffer and a barrier that not all threads of a block reach are errors that
//! name kernel and line.

use std::collections::BTreeMap;

/// A buffer on the device. Its address begins at the number of the buffer times 2³².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffer(u64);

impl Buffer {
    /// The address `bytes` behind the start.
    pub(super) fn at(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    Buffer(Buffer),
    U32(u32),
    F32(f32),
    F64(f64),
}

/// What an instruction reads or writes.
#[derive(Clone, Debug)]
enum Operand {
    Register(usize),
    /// Raw bits.
    Constant(u64),
    /// `%tid.x`, `%ctaid.x` or `%ntid.x`.
    Special(usize),
    Label(usize),
    /// A parameter by its index.
    Parameter(usize),
    /// An offset in shared memory.
    Shared(u64),
    /// A register and an offset.
    Address(usize, u64),
}

#[derive(Clone, Debug)]
struct Instruction {
    line: usize,
    /// A predicate register, and the value that lets the instruction run.
    condition: Option<(usize, bool)>,
    words: Vec<String>,
    operands: Vec<Operand>,
}

#[derive(Debug, Default)]
struct Kernel {
    parameters: Vec<String>,
    registers: usize,
    shared: usize,
    instructions: Vec<Instruction>,
}

/// A loaded module, and the memory of the device.
pub(super) struct Driver {
    kernels: BTreeMap<String, Kernel>,
    buffers: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

/// Where a thread is.
struct Thread {
    registers: Vec<u64>,
    at: usize,
    is_done: bool,
}

fn bytes_of(type_name: &str) -> usize {
    if type_name.ends_with("64") { 8 } else { 4 }
}

/// Parses the entries of a module.
fn parse(text: &str) -> Result<BTreeMap<String, Kernel>, String> {
    // The compiler of the driver takes no other character, not even in a comment.
    if let Some(line) = text.lines().position(|line| !line.is_ascii()) {
        return Err(format!("line {}: a character that is not ASCII", line + 1));
    }
    let mut out = BTreeMap::new();
    for (start, _) in text.match_indices(".visible .entry ") {
        let line = text[..start].matches('\n').count() + 1;
        let rest = &text[start + ".visible .entry ".len()..];
        let (name, rest) = rest.split_once('(').ok_or_else(|| format!("line {line}: an entry without parameters"))?;
        let (parameters, body) = rest.split_once(')').ok_or_else(|| format!("line {line}: an open list"))?;
        let parameters: Vec<String> =
            parameters.split(',').filter_map(|one| one.split_whitespace().last()).map(str::to_owned).collect();
        let body_line = line + text[start..].find('{').map_or(0, |end| text[start..start + end].matches('\n').count());
        let body = &body[body.find('{').map_or(0, |at| at + 1)..];
        let body = &body[..body.find("\n}").unwrap_or(body.len())];
        let kernel = parse_body(body, body_line, parameters).map_err(|error| format!("kernel '{name}', {error}"))?;
        out.insert(name.trim().to_owned(), kernel);
    }
    Ok(out)
}

fn parse_body(body: &str, first_line: usize, parameters: Vec<String>) -> Result<Kernel, String> {
    let mut kernel = Kernel { parameters, ..Kernel::default() };
    let (mut labels, mut shared, mut names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut lines = Vec::new();
    for (index, line) in body.lines().enumerate() {
        let line_number = first_line + index;
        let code = line.split("//").next().unwrap_or_default().trim();
        if let Some(label) = code.strip_suffix(':') {
            labels.insert(label.to_owned(), lines.len());
        } else if let Some(declared) = code.strip_prefix(".shared .") {
            let (kind, name) = declared.trim_end_matches(';').split_once(' ').unwrap_or_default();
            let (name, count) = name.trim_end_matches(']').split_once('[').unwrap_or((name, "1"));
            shared.insert(name.to_owned(), kernel.shared as u64);
            kernel.shared += bytes_of(kind) * count.parse::<usize>().map_err(|error| error.to_string())?;
        } else if !code.is_empty() && !code.starts_with(".reg") {
            lines.push((line_number, code.trim_end_matches(';').to_owned()));
        }
    }
    let mut register = |name: &str| {
        let next = names.len();
        *names.entry(name.to_owned()).or_insert(next)
    };
    let parse_operand = |text: &str, register: &mut dyn FnMut(&str) -> usize, parameters: &[String]| {
        let text = text.trim();
        let special = ["%tid.x", "%ctaid.x", "%ntid.x"].iter().position(|name| *name == text);
        let hexadecimal = |digits: &str| u64::from_str_radix(digits, 16).map_err(|error| error.to_string());
        if let Some(special) = special {
            return Ok(Operand::Special(special));
        }
        if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let (base, offset) = inside.split_once('+').unwrap_or((inside, "0"));
            let offset: u64 = offset.parse().map_err(|_| format!("the offset '{offset}'"))?;
            if base.starts_with('%') {
                return Ok(Operand::Address(register(base), offset));
            }
            if let Some(index) = parameters.iter().position(|name| name == base) {
                return Ok(Operand::Parameter(index));
            }
            return shared.get(base).map(|start| Operand::Shared(start + offset)).ok_or_else(|| format!("'{base}'"));
        }
        if text.starts_with('%') {
            return Ok(Operand::Register(register(text)));
        }
        if let Some(digits) = text.strip_prefix("0f").or_else(|| text.strip_prefix("0d")) {
            return hexadecimal(digits).map(Operand::Constant);
        }
        if let Some(start) = shared.get(text) {
            return Ok(Operand::Shared(*start));
        }
        if let Some(label) = labels.get(text) {
            return Ok(Operand::Label(*label));
        }
        text.parse::<u64>().map(Operand::Constant).map_err(|_| format!("'{text}' is unknown"))
    };
    for (line, code) in lines {
        let context = |error: String| format!("line {line}: {error}");
        let (condition, code) = match code.strip_prefix('@') {
            Some(rest) => {
                let (predicate, rest) = rest.split_once(' ').unwrap_or_default();
                let wanted = !predicate.starts_with('!');
                (Some((register(predicate.trim_start_matches('!')), wanted)), rest.trim().to_owned())
            }
            None => (None, code),
        };
        let (word, operands) = code.split_once(' ').unwrap_or((&code, ""));
        let operands: Result<Vec<Operand>, String> = operands
            .split(',')
            .filter(|one| !one.trim().is_empty())
            .map(|one| parse_operand(one, &mut register, &kernel.parameters))
            .collect();
        let words = word.split('.').map(str::to_owned).collect();
        kernel.instructions.push(Instruction { line, condition, words, operands: operands.map_err(context)? });
    }
    kernel.registers = names.len();
    Ok(kernel)
}

impl Driver {
    /// Loads a module.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        Ok(Self { kernels: parse(text)?, buffers: BTreeMap::new(), next: 1 })
    }

    /// Allocates a buffer and copies bytes to it.
    pub(super) fn upload(&mut self, bytes: &[u8]) -> Buffer {
        let address = self.next << 32;
        self.next += 1;
        self.buffers.insert(address, bytes.to_vec());
        Buffer(address)
    }

    /// Copies a buffer back.
    pub(super) fn download(&self, buffer: Buffer) -> Vec<u8> {
        self.buffers.get(&buffer.0).cloned().unwrap_or_default()
    }

    pub(super) fn free(&mut self, buffer: Buffer) {
        self.buffers.remove(&buffer.0);
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffers.values().map(Vec::len).sum()
    }

    /// Runs a kernel on `blocks` blocks of `threads` threads.
    pub(super) fn launch(
        &mut self,
        name: &str,
        (blocks, threads): (usize, usize),
        arguments: &[Argument],
    ) -> Result<(), String> {
        let Self { kernels, buffers, .. } = self;
        let kernel = kernels.get(name).ok_or_else(|| format!("there is no kernel '{name}'"))?;
        if arguments.len() != kernel.parameters.len() {
            return Err(format!("kernel '{name}' takes {} arguments", kernel.parameters.len()));
        }
        let arguments: Vec<u64> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Buffer(buffer) => buffer.0,
                Argument::U32(value) => value.into(),
                Argument::F32(value) => value.to_bits().into(),
                Argument::F64(value) => value.to_bits(),
            })
            .collect();
        for block in 0..blocks {
            let mut shared = vec![0; kernel.shared];
            let new = || Thread { registers: vec![0; kernel.registers], at: 0, is_done: false };
            let mut all: Vec<Thread> = (0..threads).map(|_| new()).collect();
            loop {
                let mut waiting = 0;
                for (index, thread) in all.iter_mut().enumerate().filter(|(_, thread)| !thread.is_done) {
                    let place = [index, block, threads].map(|number| number as u64);
                    let mut run =
                        Run { kernel, arguments: &arguments, buffers: &mut *buffers, shared: &mut shared, place };
                    let stopped = run.until_barrier(thread);
                    waiting +=
                        usize::from(stopped.map_err(|(line, error)| format!("kernel '{name}', line {line}: {error}"))?);
                }
                if waiting == 0 {
                    break;
                }
                if waiting < threads {
                    return Err(format!("kernel '{name}': {waiting} of {threads} threads reached a barrier"));
                }
            }
        }
        Ok(())
    }
}

/// A thread under way.
struct Run<'a> {
    kernel: &'a Kernel,
    arguments: &'a [u64],
    buffers: &'a mut BTreeMap<u64, Vec<u8>>,
    shared: &'a mut [u8],
    /// Indices of thread and block, and threads of a block.
    place: [u64; 3],
}

fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

impl Run<'_> {
    /// Runs to the next barrier, or to the end; returns whether it is a barrier.
    fn until_barrier(&mut self, thread: &mut Thread) -> Result<bool, (usize, String)> {
        loop {
            let Some(instruction) = self.kernel.instructions.get(thread.at) else {
                return Err((0, "the end of the kernel was passed".to_owned()));
            };
            thread.at += 1;
            if let Some((register, wanted)) = instruction.condition
                && (thread.registers[register] != 0) != wanted
            {
                continue;
            }
            let words: Vec<&str> = instruction.words.iter().map(String::as_str).collect();
            match words[..] {
                ["ret"] => {
                    thread.is_done = true;
                    return Ok(false);
                }
                ["bar", "sync"] => return Ok(true),
                ["bra"] => match instruction.operands[..] {
                    [Operand::Label(label)] => thread.at = label,
                    _ => return Err((instruction.line, "a jump to no label".to_owned())),
                },
                _ => self.execute(instruction, &words, thread).map_err(|error| (instruction.line, error))?,
            }
        }
    }

    fn value(&self, thread: &Thread, operand: &Operand) -> Result<u64, String> {
        match operand {
            Operand::Register(register) => Ok(thread.registers[*register]),
            Operand::Constant(bits) => Ok(*bits),
            Operand::Special(index) => Ok(self.place[*index]),
            Operand::Shared(offset) => Ok(*offset),
            _ => Err("an operand without a value".to_owned()),
        }
    }

    /// The bytes at an address.
    fn memory(&mut self, space: &str, thread: &Thread, operand: &Operand, count: usize) -> Result<&mut [u8], String> {
        let address = match operand {
            Operand::Address(register, offset) => thread.registers[*register].wrapping_add(*offset),
            Operand::Shared(offset) => *offset,
            _ => return Err("no address".to_owned()),
        };
        if !address.is_multiple_of(count as u64) {
            return Err(format!("address {address:#x} is not a multiple of {count}"));
        }
        let (bytes, start): (&mut [u8], u64) = match space {
            "shared" => (self.shared, address),
            "global" => match self.buffers.get_mut(&(address >> 32 << 32)) {
                Some(buffer) => (buffer, address & 0xffff_ffff),
                None => return Err(format!("address {address:#x} is in no buffer")),
            },
            _ => return Err(format!("memory '{space}' is unknown")),
        };
        let length = bytes.len();
        let range = start as usize..start as usize + count;
        bytes.get_mut(range).ok_or_else(|| format!("an access at {start} of a buffer of {length} bytes"))
    }

    fn execute(&mut self, instruction: &Instruction, words: &[&str], thread: &mut Thread) -> Result<(), String> {
        let operands = &instruction.operands;
        if let ["ld", "param", _] = words {
            let [Operand::Register(into), Operand::Parameter(index)] = operands[..] else {
                return Err("takes a register and a parameter".to_owned());
            };
            thread.registers[into] = self.arguments[index];
            return Ok(());
        }
        if let [kind @ ("ld" | "st"), space, type_name] = words {
            let count = bytes_of(type_name);
            if *kind == "ld" {
                let Operand::Register(into) = operands[0] else { return Err("takes a register".to_owned()) };
                let bytes = self.memory(space, thread, &operands[1], count)?;
                let mut raw = [0; 8];
                raw[..count].copy_from_slice(bytes);
                let raw = u64::from_le_bytes(raw);
                thread.registers[into] = if *type_name == "s32" { i64::from(raw as i32) as u64 } else { raw };
            } else {
                let value = self.value(thread, &operands[1])?.to_le_bytes();
                self.memory(space, thread, &operands[0], count)?.copy_from_slice(&value[..count]);
            }
            return Ok(());
        }
        let Some(Operand::Register(into)) = operands.first() else { return Err("writes no register".to_owned()) };
        let values: Result<Vec<u64>, String> = operands[1..].iter().map(|one| self.value(thread, one)).collect();
        thread.registers[*into] = compute(words, &values?)?;
        Ok(())
    }
}

/// The result of an instruction without memory.
fn compute(words: &[&str], v: &[u64]) -> Result<u64, String> {
    let (w, u) = (|index: usize| v[index] as u32, |value: u32| u64::from(value));
    let (s, d) = (|index: usize| f32_of(v[index]), |index: usize| f64::from_bits(v[index]));
    let single = |value: f32| Ok(u64::from(value.to_bits()));
    let double = |value: f64| Ok(value.to_bits());
    let truth = |truth: bool| Ok(u64::from(truth));
    let compare = |name: &str, order: Option<std::cmp::Ordering>| match name {
        "lt" => Ok(order.is_some_and(std::cmp::Ordering::is_lt)),
        "ge" => Ok(order.is_some_and(std::cmp::Ordering::is_ge)),
        "ne" => Ok(order != Some(std::cmp::Ordering::Equal)),
        _ => Err(format!("the comparison '{name}' is unknown")),
    };
    match words {
        ["mov", _] => Ok(v[0]),
        ["add", "u32"] => Ok(u(w(0).wrapping_add(w(1)))),
        ["sub", "u32"] => Ok(u(w(0).wrapping_sub(w(1)))),
        ["mul", "lo", "u32"] => Ok(u(w(0).wrapping_mul(w(1)))),
        ["mad", "lo", "u32"] => Ok(u(w(0).wrapping_mul(w(1)).wrapping_add(w(2)))),
        ["mul", "wide", "u32"] => Ok(u(w(0)) * u(w(1))),
        ["div", "u32"] if w(1) != 0 => Ok(u(w(0) / w(1))),
        ["rem", "u32"] if w(1) != 0 => Ok(u(w(0) % w(1))),
        ["shr", "u32"] => Ok(u(w(0) >> w(1))),
        ["add", "u64"] => Ok(v[0].wrapping_add(v[1])),
        ["setp", name, "u32"] => truth(compare(name, Some(w(0).cmp(&w(1))))?),
        ["setp", name, "s32"] => truth(compare(name, Some((w(0) as i32).cmp(&(w(1) as i32))))?),
        ["testp", "finite", "f32"] => truth(s(0).is_finite()),
        ["testp", "finite", "f64"] => truth(d(0).is_finite()),
        ["fma", "rn", "f32"] => single(s(0).mul_add(s(1), s(2))),
        ["add", "rn", "f32"] => single(s(0) + s(1)),
        ["sub", "rn", "f32"] => single(s(0) - s(1)),
        ["mul", "rn", "f32"] => single(s(0) * s(1)),
        ["div", "rn", "f32"] => single(s(0) / s(1)),
        ["sqrt", "rn", "f32"] => single(s(0).sqrt()),
        ["fma", "rn", "f64"] => double(d(0).mul_add(d(1), d(2))),
        ["add", "rn", "f64"] => double(d(0) + d(1)),
        ["sub", "rn", "f64"] => double(d(0) - d(1)),
        ["mul", "rn", "f64"] => double(d(0) * d(1)),
        ["div", "rn", "f64"] => double(d(0) / d(1)),
        ["sqrt", "rn", "f64"] => double(d(0).sqrt()),
        ["min", "f64"] => double(d(0).min(d(1))),
        ["max", "f64"] => double(d(0).max(d(1))),
        ["cvt", "f64", "f32"] => double(f64::from(s(0))),
        ["cvt", "rn", "f32", "f64"] => single(d(0) as f32),
        _ => Err(format!("the instruction '{}' is unknown", words.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Argument, Driver};

    const HEAD: &str = ".visible .entry test(.param .u64 out, .param .u32 count)\n{\n";

    fn run(body: &str, blocks: usize, threads: usize) -> Result<Vec<u32>, String> {
        let mut driver = Driver::new(&format!("{HEAD}{body}\n}}\n"))?;
        let out = driver.upload(&[0; 16]);
        driver.launch("test", (blocks, threads), &[Argument::Buffer(out), Argument::U32(4)])?;
        let bytes = driver.download(out);
        Ok(bytes.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect())
    }

    const ADDRESS: &str = "mov.u32 %r0, %tid.x;\nld.param.u64 %a0, [out];\nmul.wide.u32 %a1, %r0, 4;\n\
                           add.u64 %a2, %a0, %a1;\n";

    #[test]
    fn threads_of_a_block_meet_at_a_barrier() {
        // Each thread reads what the one before it has written.
        let body = format!(
            "{ADDRESS}.shared .u32 shared[4];\nmov.u64 %a3, shared;\nadd.u64 %a4, %a3, %a1;\n\
             add.u32 %r1, %r0, 10;\nst.shared.u32 [%a4], %r1;\nbar.sync 0;\n\
             setp.ne.u32 %p0, %r0, 0;\n@!%p0 bra first;\nsub.u32 %r2, %r0, 1;\nbra both;\nfirst:\nmov.u32 %r2, 3;\n\
             both:\nmul.wide.u32 %a5, %r2, 4;\nadd.u64 %a6, %a3, %a5;\nld.shared.u32 %r3, [%a6];\n\
             st.global.u32 [%a2], %r3;\nret;"
        );
        assert_eq!(run(&body, 1, 4).unwrap(), [13, 10, 11, 12]);
    }

    #[test]
    fn faults_name_kernel_and_line() {
        let outside = format!("{ADDRESS}st.global.u32 [%a2], %r0;\nret;");
        assert_eq!(run(&outside, 1, 4).unwrap(), [0, 1, 2, 3]);
        assert_eq!(run(&outside, 1, 5).unwrap_err(), "kernel 'test', line 7: an access at 16 of a buffer of 16 bytes");
        let some = format!("{ADDRESS}setp.lt.u32 %p0, %r0, 2;\n@%p0 bra end;\nbar.sync 0;\nend:\nret;");
        assert_eq!(run(&some, 1, 4).unwrap_err(), "kernel 'test': 2 of 4 threads reached a barrier");
        let unknown = "ex2.approx.f32 %f0, %f1;\nret;";
        assert_eq!(
            run(unknown, 1, 1).unwrap_err(),
            "kernel 'test', line 3: the instruction 'ex2.approx.f32' is unknown"
        );
        assert!(run("mov.u32 %r0, nothing;\nret;", 1, 1).unwrap_err().contains("line 3: 'nothing' is unknown"));
        let odd = "ld.param.u64 %a0, [out];\nadd.u64 %a0, %a0, 2;\nst.global.u32 [%a0], %r0;\nret;";
        assert_eq!(run("// ·\nret;", 1, 1).unwrap_err(), "line 3: a character that is not ASCII");
        assert!(run(odd, 1, 1).unwrap_err().contains("is not a multiple of 4"));
    }
}
