//! Rust text with comments and literals blanked out, so that a search finds code alone. Lines and columns stay.

/// `text` with spaces in the place of comments and of what strings and characters hold.
pub fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest, previous);
        let (taken, left) = rest.split_at(length.unwrap_or(first.len_utf8()));
        if length.is_some() {
            out.extend(taken.chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        } else {
            out.push(first);
        }
        previous = taken.chars().next_back().unwrap_or(' ');
        rest = left;
    }
    out
}

/// Bytes of the comment or literal at the start of `rest`, if there is one.
fn literal_length(rest: &str, previous: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest));
    }
    if rest.starts_with('r') && !previous.is_alphanumeric() && previous != '_' || rest.starts_with("br") {
        let after = rest.trim_start_matches(['b', 'r']);
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.len() - after.len() + hashes + 1;
            return Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()));
        }
    }
    let mut characters = rest.chars();
    if characters.next() == Some('\'') {
        let (inner, after) = (characters.next()?, characters.next()?);
        return match (inner, after) {
            ('\\', _) => rest[3..].find('\'').map(|end| end + 4),
            (_, '\'') => Some(2 + inner.len_utf8()),
            // A lifetime.
            _ => None,
        };
    }
    None
}

fn quoted_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The text before its test module, which stands last.
pub fn without_tests(text: &str) -> &str {
    let mut at = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let is_module = lines.peek().is_some_and(|next| next.starts_with("mod "));
        if line.starts_with("#[cfg(test)]") && is_module {
            return &text[..at];
        }
        at += line.len();
    }
    text
}
