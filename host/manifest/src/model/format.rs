//! Formats: what a record's bytes mean.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::scalar::text_scalar;

crate::schema::written_as!(Format => FormatForm);

/// How a record's bytes are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "FormatForm")]
pub enum Format {
    /// One JSON object a record.
    Json,
    /// The record's bytes as they are: one utf8 or binary column.
    Raw,
    /// One row of CSV a record; only read.
    Csv(CsvFormat),
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "csv")]
pub struct CsvFormat {
    /// Whether the first row of each file names the fields. Without one they are the columns in their order. Default true.
    pub header: bool,
    /// What stands between fields: one ASCII character, or `tab`. Default a comma.
    pub delimiter: Delimiter,
    /// The text that means null. Default: none at all.
    pub null_as: String,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { header: true, delimiter: Delimiter(b','), null_as: String::new() }
    }
}

/// An ASCII character that neither quotes nor ends a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(pub u8);

text_scalar!(Delimiter, "Delimiter", "delimiter", r"^(.|tab)$", "One ASCII character, or `tab`.");

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"tab" => Ok(Self(b'\t')),
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Ok(Self(*byte)),
            _ => Err(format!("`{text}` is no delimiter; it is one ASCII character, no quote, or `tab`")),
        }
    }
}

/// The two ways to write a format; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "a format")]
enum FormatForm {
    #[serde(rename = "#text")]
    Name(FormatName),
    #[serde(rename = "#map")]
    Settings(FormatSettings),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FormatName {
    Json,
    Raw,
    Csv,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a format with settings")]
struct FormatSettings {
    csv: CsvFormat,
}

impl From<FormatForm> for Format {
    fn from(form: FormatForm) -> Self {
        match form {
            FormatForm::Name(FormatName::Json) => Self::Json,
            FormatForm::Name(FormatName::Raw) => Self::Raw,
            FormatForm::Name(FormatName::Csv) => Self::Csv(CsvFormat::default()),
            FormatForm::Settings(settings) => Self::Csv(settings.csv),
        }
    }
}
