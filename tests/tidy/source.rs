//! Reading Rust text as far as the rules need: comments, strings, test modules and paths.

/// What a stretch of Rust text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// Takes Rust text apart; together the stretches are the text.
fn parts(text: &str) -> Vec<(Part, &str)> {
    let mut parts = Vec::new();
    let (mut rest, mut after_word) = (text, false);
    while let Some(first) = rest.chars().next() {
        let (length, part) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), Part::Comment),
            '/' if rest.starts_with("/*") => (block_comment(rest), Part::Comment),
            '"' => (1 + quoted(&rest[1..]), Part::Literal),
            'r' | 'b' | 'c' if !after_word && literal(rest).is_some() => {
                (literal(rest).unwrap_or(1), Part::Literal)
            }
            '\'' if character(rest).is_some() => (character(rest).unwrap_or(1), Part::Literal),
            _ => (first.len_utf8(), Part::Code),
        };
        let (head, tail) = rest.split_at(length);
        after_word = part == Part::Code && is_word(first);
        parts.push((part, head));
        rest = tail;
    }
    parts
}

/// The text with comments and literals blanked out; lines and columns stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (part, stretch) in parts(text) {
        match part {
            Part::Code => out.push_str(stretch),
            Part::Comment | Part::Literal => {
                out.extend(stretch.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            }
        }
    }
    out
}

/// The text without what stands inside of literals; lines stay where they are.
pub(crate) fn without_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (part, stretch) in parts(text) {
        match part {
            Part::Code | Part::Comment => out.push_str(stretch),
            Part::Literal => out.extend(stretch.chars().filter(|c| *c == '\n')),
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of the nested block comment that `text` begins with.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length up to and including the closing quote, `text` being what follows the opening one.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Length of the prefixed literal (`r#""#`, `b""`, `br""`, `c""`, `b''`) that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|c| !matches!(c, 'r' | 'b' | 'c'))?;
    let after = &text[prefix..];
    let hashes = after.find(|c| c != '#')?;
    if text[..prefix].contains('r') && after[hashes..].starts_with('"') {
        let start = prefix + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(
            text[start..]
                .find(&end)
                .map_or(text.len(), |at| start + at + end.len()),
        );
    }
    if prefix <= 1 && after.starts_with('"') {
        return Some(prefix + 1 + quoted(&after[1..]));
    }
    if text.starts_with("b'") {
        return character(after).map(|length| prefix + length);
    }
    None
}

/// Length of the character literal that `text` begins with; `None` if it is a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars
        .next()
        .filter(|(_, c)| *c == '\'')
        .map(|(at, _)| at + 1)
}

/// `code` with every `#[cfg(test)] mod name { … }` blanked out.
pub(crate) fn without_test_modules(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(at) = out[from..].find("#[cfg(test)]").map(|at| at + from) {
        let end = match (out[at..].find('{'), out[at..].find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|s| open < s) => {
                at + open + braces(&out[at + open..])
            }
            (_, Some(semicolon)) => at + semicolon + 1,
            (_, None) => out.len(),
        };
        let blank: String = out[at..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(at..end, &blank);
        from = at + blank.len();
    }
    out
}

/// Length of the brace group that `text` begins with.
fn braces(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// One path that the code names: its line (from 1) and its segments after the root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// Every path below `root` (`crate`, `iiblockdaemon`) that `code` names, use groups expanded.
pub(crate) fn paths_below(code: &str, root: &str) -> Vec<Named> {
    let mut found = Vec::new();
    for at in words(code, root) {
        if let Some(rest) = code[at + root.len()..].trim_start().strip_prefix("::") {
            let line = line_of(code, at);
            let mut trees = Vec::new();
            use_tree(rest.trim_start(), &mut Vec::new(), &mut trees);
            found.extend(trees.into_iter().map(|segments| Named { line, segments }));
        }
    }
    found
}

/// Paths that climb with `super::` out of a module `depth` levels below the crate root.
pub(crate) fn paths_above(code: &str, depth: usize) -> Vec<Named> {
    let mut found = Vec::new();
    let mut end_of_last = 0;
    for at in words(code, "super") {
        if at < end_of_last {
            continue;
        }
        let (mut rest, mut climbs) = (&code[at..], 0);
        while let Some(after) = rest
            .strip_prefix("super")
            .and_then(|r| r.trim_start().strip_prefix("::"))
        {
            climbs += 1;
            rest = after.trim_start();
        }
        end_of_last = code.len() - rest.len();
        if climbs >= depth && climbs > 0 {
            let mut trees = Vec::new();
            use_tree(rest, &mut Vec::new(), &mut trees);
            let line = line_of(code, at);
            found.extend(trees.into_iter().map(|segments| Named { line, segments }));
        }
    }
    found
}

/// Where `word` stands in `code` as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            !code[..*at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word)
        })
}

/// The line, from 1, of the byte at `at`.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Parses `a::b`, `a::{b, c::d}`, `{a, b}`; returns what is left and adds the paths to `out`.
fn use_tree<'a>(text: &'a str, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            if rest.is_empty() {
                return rest;
            }
            let before = rest.len();
            rest = use_tree(rest, prefix, out);
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if rest.len() == before {
                return rest;
            }
        }
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (segment, rest) = text.split_at(end);
    if segment.is_empty() {
        out.push(prefix.clone());
        return rest;
    }
    prefix.push(segment.to_owned());
    let rest = match rest.trim_start().strip_prefix("::") {
        Some(after) => use_tree(after.trim_start(), prefix, out),
        None => {
            out.push(prefix.clone());
            rest
        }
    };
    prefix.pop();
    rest
}
