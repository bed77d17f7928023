//! Completions for shells, written from the command line's own definition.

use std::io::Write;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::output::Failure;

pub const EXAMPLES: &str = "Examples:
  weir completions bash > ~/.local/share/bash-completion/completions/weir
  weir completions zsh > ~/.zfunc/_weir
  weir completions fish > ~/.config/fish/completions/weir.fish";

#[derive(Args)]
pub struct CompletionsArgs {
    shell: ShellName,
}

/// The shells that are looked after.
#[derive(Clone, Copy, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // A reader that has closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(&script(args.shell));
    Ok(())
}

fn script(shell: ShellName) -> Vec<u8> {
    let shell = match shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Cli::command(), "weir", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_commands_and_their_options() {
        for shell in ShellName::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["savepoint", "dead-letters", "profile"] {
                assert!(script.contains(word), "{word} is not in {script}");
            }
        }
    }
}
