//! The texts that a manifest was read from, and places in them as people count: lines and columns from 1.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::span::Span;

/// One file's path and text.
#[derive(Clone)]
pub struct Text {
    pub path: PathBuf,
    pub text: String,
}

/// The path alone: the text may hold a secret, written out.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// The manifest's text and its overlays', by [`Span::file`].
#[derive(Debug, Clone, Default)]
pub struct Texts {
    files: Vec<Text>,
}

/// A place as people count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineColumn {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line's bytes in the text, without its end.
    pub range: Range<usize>,
}

impl Texts {
    pub fn new(files: Vec<Text>) -> Self {
        Self { files }
    }

    /// # Panics
    /// When the span is from other texts.
    pub fn text(&self, file: u32) -> &str {
        &self.files[file as usize].text
    }

    /// # Panics
    /// When the span is from other texts.
    pub fn path(&self, file: u32) -> &Path {
        &self.files[file as usize].path
    }

    pub fn locate(&self, span: Span) -> LineColumn {
        let text = self.text(span.file);
        let at = text.floor_char_boundary(span.start as usize);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let end = if text[start..end].ends_with('\r') { end - 1 } else { end };
        LineColumn {
            line: text[..start].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            range: start..end.max(start),
        }
    }
}
