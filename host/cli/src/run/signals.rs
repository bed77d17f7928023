//! SIGTERM and SIGINT: the first seals, exposes and ends; a second one forces.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use weir_runtime::Control;

/// Starts a thread that listens.
///
/// # Errors
/// The operating system's, when it takes no handler.
pub fn handle(control: Arc<Control>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let listen = move || {
        runtime.block_on(async {
            for round in 0.. {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                match round {
                    0 => control.stop(),
                    // State is as good as after a crash: the next start recovers it.
                    _ => std::process::exit(130),
                }
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}
