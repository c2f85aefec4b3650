//! The `virtiofsd` binary.

use std::io::Write;
use std::process::ExitCode;

use virtiofsd::cli::{self, Command, UsageError};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Serve(_)) => {
            eprintln!("error: virtiofsd: serving is not supported yet\nuse --help meanwhile");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(UsageError::EXIT_STATUS)
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: stdout: {error}\ncheck where the output goes");
            ExitCode::FAILURE
        }
    }
}
