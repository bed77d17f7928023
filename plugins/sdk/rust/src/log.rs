//! Lines for the host's log: `log::info!("{n} rows")`. The host limits their rate and length.
//!
//! On native targets, so in `cargo test`, they go to standard error.

pub use crate::bindings::weir::plugin::log::Level;

/// Writes one line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::weir::plugin::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

macro_rules! level_macro {
    ($dollar:tt $name:ident, $hidden:ident, $level:ident) => {
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $hidden {
            ($dollar($text:tt)+) => {
                $crate::log::write($crate::log::Level::$level, &::std::format!($dollar($text)+))
            };
        }
        pub use $hidden as $name;
    };
}
level_macro!($ trace, __log_trace, Trace);
level_macro!($ debug, __log_debug, Debug);
level_macro!($ info, __log_info, Info);
level_macro!($ warn, __log_warn, Warn);
level_macro!($ error, __log_error, Error);
