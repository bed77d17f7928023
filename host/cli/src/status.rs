//! `weir status` and `weir stop`: what a running pipeline says about itself, and its end.

use weir_runtime::Status;
use weir_runtime::state_budget::StateSize;

use crate::client::Server;
use crate::output::{self, Failure, Format};
use crate::run::grouped;

pub const EXAMPLES: &str = "Examples:\n  weir status\n  weir status --admin 127.0.0.1:7421 -o json";

pub fn status(server: &Server, format: Format) -> Result<(), Failure> {
    let status = server.status()?;
    if format == Format::Json {
        return output::print_json(&status);
    }
    print!("{}", text(&status));
    Ok(())
}

pub fn stop(server: &Server, format: Format) -> Result<(), Failure> {
    server.stop()?;
    match format {
        Format::Json => output::print_json(&serde_json::json!({ "stopping": true })),
        Format::Text => {
            println!("stopping: the epoch is sealed, made durable and exposed");
            Ok(())
        }
    }
}

fn text(status: &Status) -> String {
    let state = format!("{:?}", status.state).to_lowercase();
    let ago = status.durable_ago_ms.map_or(String::new(), |ago| format!(", {:.1} s ago", ago as f64 / 1000.0));
    let mut lines = vec![format!(
        "{} · profile {} · {state} for {} s · epoch {} durable{ago}",
        status.pipeline,
        status.profile,
        status.uptime_ms / 1000,
        grouped(status.durable_epoch)
    )];
    lines.extend(status.reason.iter().map(|reason| format!("  {reason}")));
    for (step, counts) in &status.steps {
        let mut line = format!("  {step:<18} {} in, {} out", grouped(counts.rows_in), grouped(counts.rows_out));
        if counts.rejected > 0 {
            line += &format!(", {} rejected", grouped(counts.rejected));
        }
        if counts.late > 0 {
            line += &format!(", {} late", grouped(counts.late));
        }
        lines.push(line);
        lines.extend(status.state_by_step.get(step).map(|state| format!("  {:<18} {}", "", held(state))));
    }
    for (step, plugin) in &status.plugins {
        let watched = if plugin.watched { ", watched" } else { "" };
        let against = if plugin.running == plugin.manifest {
            "as in the manifest".to_owned()
        } else {
            format!("the manifest has {}", short(&plugin.manifest))
        };
        let (name, version, running) = (&plugin.name, &plugin.version, short(&plugin.running));
        lines.push(format!("  {step:<18} {name} {version} · running {running}, {against}{watched}"));
    }
    for (step, table) in &status.lookups {
        let (rows, kib) = (grouped(table.size.rows), grouped(table.size.bytes.div_ceil(1024)));
        let trouble = table.trouble.as_ref().map_or(String::new(), |trouble| format!(" · {trouble}"));
        let ago = table.loaded_ago_ms / 1000;
        lines.push(format!("  {step:<18} table of {rows} rows, {kib} KiB, read {ago} s ago{trouble}"));
    }
    for (sink, one) in &status.sinks {
        let trouble = one.trouble.as_ref().map_or(String::new(), |trouble| format!(" · waits: {trouble}"));
        lines.push(format!("  {sink:<18} exposed epoch {}{trouble}", grouped(one.exposed_epoch)));
    }
    if let Some(swap) = &status.last_swap {
        lines.push(format!("  last swap          {} to {} · {}", swap.step, short(&swap.digest), swap.verdict));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What a step holds.
fn held(state: &StateSize) -> String {
    let kib = |bytes: u64| grouped(bytes.div_ceil(1024));
    let mut text = format!("holds {} keys, {} KiB in memory", grouped(state.keys), kib(state.bytes));
    if state.cold_bytes > 0 {
        text += &format!(", {} KiB on disk", kib(state.cold_bytes));
    }
    text
}

/// The first digits of a digest: enough for people.
pub fn short(digest: &str) -> String {
    let end = "sha256:".len() + 6;
    digest.get(..end).map_or_else(|| digest.to_owned(), |start| format!("{start}.."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_state_says_what_is_on_disk_only_if_something_is() {
        let hot = StateSize { keys: 1_096, bytes: 4_000, cold_bytes: 0 };
        assert_eq!(held(&hot), "holds 1,096 keys, 4 KiB in memory");
        let cold = StateSize { keys: 12_000_000, bytes: 96 << 20, cold_bytes: 1 << 30 };
        assert_eq!(held(&cold), "holds 12,000,000 keys, 98,304 KiB in memory, 1,048,576 KiB on disk");
    }
}
