//! Times one optimiser step of an LSTM over all assets (2 layers, 60 steps, Sharpe loss), one thread. Prints a JSON
//! line a shape and instruction level: level, assets, hidden, batch, the median and the least of the processor's seconds of a step, the operations a
//! second of the layers' products alone at the median (2 for a multiplication and an addition, in 10⁹), and their share
//! of what one core can do at most, which independent chains of fused multiply-add measure just before.
#![allow(unsafe_code)]

mod levels;

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};
use walkforge::Result;
use walkforge::internals::device::cpu::SimdLevel;
use walkforge::internals::engine::{StepSettings, Stepper};
use walkforge::internals::program::{Builder, Program};
use walkforge::internals::random::Random;
use walkforge::internals::settings::Choice as _;

use levels::at_every_level;

const STEPS: usize = 60;
/// The least share of the peak that a step may reach.
const LEAST_SHARE: f64 = 0.6;

fn network(assets: usize, hidden: usize) -> Result<Program> {
    let mut builder = Builder::new();
    let x = builder.input("x", &[STEPS, assets])?;
    let mask = builder.input("mask", &[assets])?;
    let first = builder.lstm("lstm.0", x, hidden)?;
    let second = builder.lstm("lstm.1", first, hidden)?;
    let last = builder.last(second)?;
    let logits = builder.linear("head", last, assets)?;
    let weights = builder.masked_softmax(logits, mask)?;
    builder.finish(weights)
}

/// Seconds that the processor has worked for this process: others on the same machine take none of them.
fn worked() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the place it is given and nowhere else.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Chains of multiplications and additions that wait for nothing but their own last result.
struct Chains(usize);

impl WithSimd for Chains {
    /// Operations, and a result that somebody must take, so that they are done.
    type Output = (f64, f32);

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        const COUNT: usize = 12;
        let (factor, term) = (simd.splat_f32s(0.999), simd.splat_f32s(0.1));
        let mut chains = [simd.splat_f32s(1.0); COUNT];
        for _ in 0..self.0 {
            for chain in &mut chains {
                *chain = simd.mul_add_e_f32s(*chain, factor, term);
            }
        }
        let sum = chains.into_iter().reduce(|one, two| simd.add_f32s(one, two));
        let operations = (2 * COUNT * S::F32_LANES * self.0) as f64;
        (operations, sum.map_or(0.0, |sum| simd.reduce_sum_f32s(sum)))
    }
}

/// The kernels of a level.
fn arch(level: SimdLevel) -> Arch {
    match level {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::X86V3 => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        SimdLevel::Scalar => Arch::Scalar,
        _ => Arch::new(),
    }
}

/// The most operations a second that a core did in five goes, in 10⁹.
fn peak(level: SimdLevel) -> f64 {
    let mut most = 0.0_f64;
    for _ in 0..5 {
        let started = worked();
        let (operations, result) = arch(level).dispatch(Chains(4_000_000));
        std::hint::black_box(result);
        most = most.max(operations / (worked() - started) / 1e9);
    }
    most
}

/// Operations of the products of both layers in one step. Forward each weight meets its number once; backward once for
/// the weight's gradient and once for the number's, which the first layer's inputs do not ask for.
fn operations(assets: usize, hidden: usize, batch: usize) -> f64 {
    let weights = |inputs: usize| 4 * hidden * inputs;
    let products = 2 * weights(assets) + 3 * 3 * weights(hidden);
    (2 * products * batch * STEPS) as f64
}

fn main() -> Result<()> {
    at_every_level(bench)
}

fn bench(level: SimdLevel) -> Result<()> {
    for (assets, hidden, batch) in [(20, 128, 32), (20, 128, 128), (20, 128, 256), (100, 128, 64), (20, 64, 32)] {
        let random = Random::new(1, 0, 0);
        let draw = |stream: u64, count: usize| -> Vec<f32> {
            (0..count as u64).map(|place| random.uniform((stream << 32) + place) - 0.5).collect()
        };
        let (x, labels) = (draw(0, batch * STEPS * assets), draw(1, batch * assets));
        let mask = vec![1.0; batch * assets];
        let program = Arc::new(network(assets, hidden)?);
        let mut stepper = Stepper::new(program, StepSettings::default(), batch, batch, false, 1);
        let peak = peak(level);
        let mut seconds = Vec::new();
        for _ in 0..12 {
            let started = worked();
            stepper.step(&[&x, &mask], &labels, batch, 1e-3)?;
            seconds.push(worked() - started);
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let speed = operations(assets, hidden, batch) / median / 1e9;
        println!(
            "{{\"level\": \"{}\", \"assets\": {assets}, \"hidden\": {hidden}, \"batch\": {batch}, \"median\": {median}, \"least\": {}, \
             \"speed\": {speed}, \"peak\": {peak}}}",
            level.name(),
            seconds[0]
        );
        // Half of that is what kernels reach that spill their registers.
        let share = operations(assets, hidden, batch) / seconds[0] / 1e9 / peak;
        assert!(
            level == SimdLevel::Scalar || share > LEAST_SHARE,
            "{} at hidden {hidden}: {share:.2} of the peak, expected is more than {LEAST_SHARE}",
            level.name()
        );
    }
    Ok(())
}
