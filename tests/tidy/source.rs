//! Rust source as far as the rules need it: tokens without comments and strings, which of them are test code, and the
//! absolute module path of everything that a file names in its crate.

/// Words that begin an item, whose commas do not end it as they end a field or an argument.
const ITEM_WORDS: [&str; 13] =
    ["fn", "mod", "use", "impl", "struct", "enum", "trait", "const", "static", "type", "unsafe", "async", "extern"];

/// An identifier, a number or one punctuation character.
pub(super) struct Token {
    pub line: usize,
    pub text: String,
}

pub(super) struct Source {
    pub tokens: Vec<Token>,
    pub comments: String,
}

/// Something of the crate that a file names: `["panel", "Panel"]` for `crate::panel::Panel`; empty for the crate root.
#[derive(Debug, PartialEq)]
pub(super) struct Use {
    pub line: usize,
    pub path: Vec<String>,
    pub in_test: bool,
}

impl Source {
    /// Splits Rust or C into tokens and the text of its comments.
    pub(super) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (mut tokens, mut comments) = (Vec::new(), String::new());
        let (mut at, mut line) = (0, 1);
        while at < chars.len() {
            let start = at;
            let first = chars[at];
            let next = chars.get(at + 1).copied().unwrap_or_default();
            match first {
                '/' if next == '/' => at = position(&chars, at, |rest| rest[0] == '\n'),
                '/' if next == '*' => at = block_comment_end(&chars, at),
                '"' => at = string_end(&chars, at, '"'),
                '\'' if next == '\\' || chars.get(at + 2) == Some(&'\'') => at = string_end(&chars, at, '\''),
                '\'' => at = position(&chars, at + 1, |rest| !is_word(rest[0])),
                _ if is_word(first) => {
                    at = position(&chars, at, |rest| !is_word(rest[0]));
                    let word: String = chars[start..at].iter().collect();
                    match raw_string_end(&chars, &word, at) {
                        Some(end) => at = end,
                        None => tokens.push(Token { line, text: word }),
                    }
                }
                _ => {
                    at += 1;
                    if !first.is_whitespace() {
                        tokens.push(Token { line, text: first.to_string() });
                    }
                }
            }
            let passed = &chars[start..at];
            if passed.len() > 1 && first == '/' {
                comments.extend(passed);
                comments.push('\n');
            }
            line += passed.iter().filter(|letter| **letter == '\n').count();
        }
        Self { tokens, comments }
    }

    /// The text of the token at an index; empty past the end.
    pub(super) fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Whether the tokens from an index on read like `pattern`, given with spaces between tokens.
    pub(super) fn reads(&self, at: usize, pattern: &str) -> bool {
        pattern.split(' ').enumerate().all(|(offset, text)| self.text(at + offset) == text)
    }

    /// For each token whether it belongs to an item under `#[cfg(test)]` or `#[cfg(all(test, …))]`.
    pub(super) fn test_code(&self) -> Vec<bool> {
        let mut test = vec![false; self.tokens.len()];
        for at in 0..self.tokens.len() {
            if self.reads(at, "# [ cfg ( test )") || self.reads(at, "# [ cfg ( all ( test ,") {
                test[at..self.item_end(at)].fill(true);
            }
        }
        test
    }

    /// Modules with a file of their own that this file declares under `#[cfg(test)]`.
    pub(super) fn test_modules(&self, file: &str) -> Vec<Vec<String>> {
        let test = self.test_code();
        let declared =
            (0..self.tokens.len()).filter(|at| test[*at] && self.text(*at) == "mod" && self.text(at + 2) == ";");
        declared.map(|at| [module_path(file), vec![self.text(at + 1).to_owned()]].concat()).collect()
    }

    /// The end of the item, statement or field whose first attribute stands at an index.
    fn item_end(&self, mut at: usize) -> usize {
        while self.text(at) == "#" {
            at = self.group_end(at + 1);
        }
        let word = match (self.text(at), self.text(at + 1)) {
            ("pub", "(") => self.text(self.group_end(at + 1)),
            ("pub", word) | (word, _) => word,
        };
        let is_item = ITEM_WORDS.contains(&word);
        while at < self.tokens.len() {
            match self.text(at) {
                "(" | "[" => at = self.group_end(at),
                "{" => return self.group_end(at),
                ")" | "]" | "}" => return at,
                ";" => return at + 1,
                "," if !is_item => return at + 1,
                _ => at += 1,
            }
        }
        at
    }

    /// The index after the bracket that closes the one at an index.
    pub(super) fn group_end(&self, start: usize) -> usize {
        let mut depth = 0_usize;
        for at in start..self.tokens.len() {
            match self.text(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => (),
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    /// Everything of the crate `walkforge` that a file names, in `use` or in code, by absolute path.
    pub(super) fn uses(&self, file: &str) -> Vec<Use> {
        let test = self.test_code();
        let mut module = module_path(file);
        let (mut module_ends, mut found) = (Vec::new(), Vec::new());
        for (at, &in_test) in test.iter().enumerate() {
            while module_ends.last() == Some(&at) {
                module_ends.pop();
                module.pop();
            }
            if self.text(at) == "mod" && self.text(at + 2) == "{" {
                module.push(self.text(at + 1).to_owned());
                module_ends.push(self.group_end(at + 2));
            }
            if self.starts_path(at) {
                let first = found.len();
                self.follow(at, module.clone(), &mut found);
                for named in &mut found[first..] {
                    named.in_test = in_test;
                }
            }
        }
        found
    }

    /// Whether a path into the crate starts at an index: not the tail of another path, nor the scope of a `pub(…)`.
    fn starts_path(&self, at: usize) -> bool {
        let before = |count: usize| at.checked_sub(count).map_or("", |index| self.text(index));
        let continues = before(1) == ":" && before(2) == ":" && is_name(before(3));
        let visibility = (before(1) == "(" && before(2) == "pub") || (before(1) == "in" && before(3) == "pub");
        let first = match self.text(at) {
            "crate" => true,
            "super" => self.reads(at + 1, ": :") || self.text(at + 1) == "as",
            "self" | "walkforge" => self.reads(at + 1, ": :"),
            _ => false,
        };
        first && !continues && !visibility
    }

    /// Follows a path, and each branch of a brace group, from the segment at an index; returns the index after it.
    fn follow(&self, mut at: usize, mut path: Vec<String>, found: &mut Vec<Use>) -> usize {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        loop {
            match self.text(at) {
                "crate" | "walkforge" => path.clear(),
                "super" => drop(path.pop()),
                "self" => (),
                "{" => {
                    let end = self.group_end(at);
                    at += 1;
                    while at + 1 < end {
                        at = self.follow(at, path.clone(), found);
                        // `as name` and the comma.
                        while at + 1 < end && self.text(at) != "," {
                            at += 1;
                        }
                        at += usize::from(self.text(at) == ",");
                    }
                    return end;
                }
                name if is_name(name) || name == "*" => path.push(name.to_owned()),
                _ => break,
            }
            at += 1;
            if !self.reads(at, ": :") {
                break;
            }
            at += 2;
        }
        found.push(Use { line, path, in_test: false });
        at
    }
}

/// `src/panel/read/csv.rs` is `["panel", "read", "csv"]`, and `src/panel/mod.rs` is `["panel"]`.
pub(super) fn module_path(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
}

/// The first index from `start` on at which `holds` holds for the rest; the length where it never does.
fn position(chars: &[char], start: usize, holds: impl Fn(&[char]) -> bool) -> usize {
    (start..chars.len()).find(|at| holds(&chars[*at..])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of a raw string whose prefix ends at an index; none where no raw string stands.
fn raw_string_end(chars: &[char], prefix: &str, at: usize) -> Option<usize> {
    if !["r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let quote = position(chars, at, |rest| rest[0] != '#');
    let hashes = quote - at;
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let closes =
        |rest: &[char]| rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|letter| *letter == '#');
    Some((position(chars, quote + 1, closes) + 1 + hashes).min(chars.len()))
}
