//! Judges of text, named by the schema's `x-format`: each says in a sentence why a text does not fit.

use std::str::FromStr;

use super::interpolate::is_variable;
use crate::column_type::ColumnType;
use crate::model::{DEAD_LETTERS, Delimiter, LATE_ROWS, Start};
use crate::scalar::{Duration, Instant, Rate, Share, Size, TextScalar, TimeToLive};

/// Why a text was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unfit(String),
    /// A secret stands there, written out: the text must not be shown.
    Secret(String),
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::Unfit(message)
    }
}

/// The longest name of a pipeline, source, step, sink, column or table: PostgreSQL's bound.
pub(crate) const MAX_NAME_BYTES: usize = 63;

/// Whether text fits a format.
pub(crate) fn judge(format: &str, text: &str) -> Result<(), Refusal> {
    match format {
        "id" => id(text)?,
        "column-name" => column_name(text)?,
        "field-path" => field_path(text)?,
        "expression" => not_empty(text, "an expression")?,
        "path" => path(text)?,
        "brokers" => brokers(text)?,
        "topic" => topic(text)?,
        "table" => table(text)?,
        "name" => name(text)?,
        "node" => node(text)?,
        "password" => {
            return Err(Refusal::Secret("a password is written here; give it as { secret: NAME }".to_owned()));
        }
        "variable" if !is_variable(text) => {
            return Err(format!("`{text}` is no name of an environment variable").into());
        }
        "url" => url(text)?,
        Duration::FORMAT => parsed::<Duration>(text)?,
        TimeToLive::FORMAT => parsed::<TimeToLive>(text)?,
        Size::FORMAT => parsed::<Size>(text)?,
        Rate::FORMAT => parsed::<Rate>(text)?,
        Share::FORMAT => parsed::<Share>(text)?,
        Instant::FORMAT => parsed::<Instant>(text)?,
        Delimiter::FORMAT => parsed::<Delimiter>(text)?,
        Start::FORMAT => parsed::<Start>(text)?,
        ColumnType::FORMAT => parsed::<ColumnType>(text)?,
        _ => {}
    }
    Ok(())
}

/// Whether a format's text may be written as a bare number and is judged by its parser.
pub(crate) fn has_parser(format: &str) -> bool {
    [
        Duration::FORMAT,
        TimeToLive::FORMAT,
        Size::FORMAT,
        Rate::FORMAT,
        Share::FORMAT,
        Instant::FORMAT,
        ColumnType::FORMAT,
    ]
    .contains(&format)
}

fn parsed<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(|_| ())
}

fn not_empty(text: &str, what: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err(format!("empty where {what} is wanted")) } else { Ok(()) }
}

fn id(text: &str) -> Result<(), String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !(first && rest) {
        return Err(format!("`{text}` is no id; ids are lower-case letters, digits and _, a letter first"));
    }
    length(text)
}

fn length(text: &str) -> Result<(), String> {
    if text.len() > MAX_NAME_BYTES { Err(format!("a name has at most {MAX_NAME_BYTES} bytes")) } else { Ok(()) }
}

fn is_identifier(text: &str) -> bool {
    is_variable(text)
}

fn column_name(text: &str) -> Result<(), String> {
    if !is_identifier(text) {
        return Err(format!("`{text}` is no column name; names are letters, digits and _, no digit first"));
    }
    length(text)
}

fn name(text: &str) -> Result<(), String> {
    if !is_identifier(text) {
        return Err(format!("`{text}` is no name; names are letters, digits and _, no digit first"));
    }
    length(text)
}

fn node(text: &str) -> Result<(), String> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address has its colons in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let legal = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c));
    let fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !host.is_empty() && legal && fits {
        return Ok(());
    }
    Err(format!("`{text}` is no host; write host or host:port"))
}

fn field_path(text: &str) -> Result<(), String> {
    if text.split('.').any(str::is_empty) {
        return Err(format!("`{text}` is no field path; write names with dots between, such as bid.price"));
    }
    Ok(())
}

fn path(text: &str) -> Result<(), String> {
    not_empty(text, "a path")?;
    if text.contains('\0') { Err("a path holds no NUL".to_owned()) } else { Ok(()) }
}

fn brokers(text: &str) -> Result<(), String> {
    let is_broker = |broker: &str| {
        let (host, port) = broker.trim().rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(())
    };
    if text.split(',').all(|broker| is_broker(broker).is_some()) {
        return Ok(());
    }
    Err(format!("`{text}` is no list of brokers; write host:port, several with commas between"))
}

fn topic(text: &str) -> Result<(), String> {
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if legal && !text.is_empty() && text.len() <= 249 && text != "." && text != ".." {
        return Ok(());
    }
    Err(format!("`{text}` is no topic; topics are up to 249 letters, digits, dots, _ and -"))
}

fn table(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 2 || !parts.iter().all(|part| is_identifier(part)) {
        return Err(format!("`{text}` is no table; write table or schema.table, of letters, digits and _"));
    }
    parts.into_iter().try_for_each(length)
}

fn url(text: &str) -> Result<(), Refusal> {
    let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) else {
        // The text may hold a password all the same: it is not repeated.
        return Err(Refusal::Secret("no PostgreSQL address; write postgres://user@host/database".to_owned()));
    };
    let user = rest.split('/').next().and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    if user.is_some_and(|user| user.contains(':')) || query.contains("password=") {
        return Err(Refusal::Secret(
            "a password is written here; give the whole address as { secret: NAME }".to_owned(),
        ));
    }
    Ok(())
}

/// Whether a name may be given to a source, step or sink.
pub(crate) fn is_reserved(id: &str) -> bool {
    id == DEAD_LETTERS || id == LATE_ROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_judged() {
        let fits = |format: &str, text: &str| judge(format, text).is_ok();
        assert!(fits("id", "sales_2") && !fits("id", "Sales") && !fits("id", "_a") && !fits("id", &"a".repeat(64)));
        assert!(fits("column-name", "_Total1") && !fits("column-name", "1st") && !fits("column-name", "a b"));
        assert!(fits("field-path", "bid.price") && !fits("field-path", "bid..price") && !fits("field-path", ""));
        assert!(
            fits("brokers", "a:9092, [::1]:9093")
                && !fits("brokers", "a")
                && !fits("brokers", "a:0")
                && !fits("brokers", "")
        );
        assert!(fits("topic", "shop.events-1") && !fits("topic", "..") && !fits("topic", "a b"));
        assert!(fits("table", "public.sales") && !fits("table", "a.b.c") && !fits("table", "sales; drop table x"));
        assert!(fits("variable", "SHOP_DB_URL") && !fits("variable", "A-B"));
    }

    #[test]
    fn an_address_with_a_password_is_a_secret_written_out() {
        for text in ["postgres://shop:hunter2@db/shop", "postgres://db/shop?user=a&password=hunter2", "shop:hunter2"] {
            assert!(
                matches!(judge("url", text), Err(Refusal::Secret(message)) if !message.contains("hunter2")),
                "{text}"
            );
        }
        assert_eq!(judge("url", "postgres://shop@db:5432/shop?sslmode=require"), Ok(()));
    }
}
