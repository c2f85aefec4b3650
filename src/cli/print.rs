//! What is printed instead of serving: capabilities, completions, man page.

use clap_complete::Shell;

use super::args;
use super::features;

/// Words that management layers look for, each with the option it stands for.
const CAPABILITIES: &[(&str, &str)] = &[
    ("migrate-precopy", "migration-mode"),
    ("posix-acl-negotiation-mode", "posix-acl"),
    ("security-label-negotiation-mode", "security-label"),
    ("separate-options", "shared-dir"),
];

/// The JSON of QEMU's docs/interop/vhost-user.json, with the words that are true.
pub(super) fn capabilities() -> String {
    let words: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(_, option)| features::absent(option).next().is_none())
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    format!("{{\"type\":\"fs\",\"features\":[{}]}}\n", words.join(","))
}

/// The completion script for `shell`.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut command = args::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8(script).expect("names of options are ASCII")
}

/// The man page, as troff source.
pub(super) fn man() -> String {
    let mut page = Vec::new();
    clap_mangen::Man::new(args::command())
        .render(&mut page)
        .expect("writing to memory does not fail");
    String::from_utf8(page).expect("help texts are UTF-8")
}
