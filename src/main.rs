//! The `virtiofsd` binary: parse, run, print one error, exit.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use virtiofsd::cli::{self, Command, UsageError};
use virtiofsd::daemon;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Serve(config)) => match daemon::run(&config) {
            Ok(status) => status,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            complain(&error);
            ExitCode::from(UsageError::EXIT_STATUS)
        }
    }
}

/// Says what went wrong, if anybody still listens.
fn complain(error: &dyn std::error::Error) {
    let _ = writeln!(std::io::stderr(), "{error}");
}

fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let hint = "check where the output goes";
            let _ = writeln!(std::io::stderr(), "error: stdout: {error}\n{hint}");
            ExitCode::FAILURE
        }
    }
}
