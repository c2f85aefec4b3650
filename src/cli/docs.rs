//! docs/options.md, made from the table of options and checked against it.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::features;
use super::option::{Kind, Opt, Repeat};
use super::table;

const INTRODUCTION: &str = "\
# Options

<!-- Made from the table in src/cli/table.rs by the test `cli::docs`; run it with UPDATE_DOCS=1
to write this file anew. -->

Every option can be written in two ways, and both can be mixed: as an option of its own
(`--cache=never`, `--cache never`) or as a word of `-o` (`-o cache=never`), where `-` in a name
becomes `_` and several words are separated by commas. In `-o`, a comma within a value is written
`,,` or `\\,`; any other backslash stands for itself.

What takes no value is turned on by its name and off with `no-` (`no_`) before it. Where an option
is given more than once, the last one counts; options marked *once* may only say the same again,
because two different values would be more of a mistake than a wish; options marked *list* add up.

The environment variable `RUST_LOG` goes before `--log-level` and `--debug`.

An option whose feature is not there yet ends the start with `error: ...: not supported yet`.
Usage errors, these included, have exit status 2.

`--help`, `--version`, `--print-capabilities`, `--completions SHELL` and `--man` print and exit,
need no privilege and no other option.
";

fn options_md() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in table::SECTIONS {
        let _ = write!(
            text,
            "\n## {}\n\n| option | `-o` word | default | meaning |\n|---|---|---|---|\n",
            section.heading
        );
        for option in section.options {
            let _ = writeln!(text, "{}", row(option));
        }
    }
    text
}

fn row(option: &Opt) -> String {
    let long = match option.word_only {
        true => String::new(),
        false => long_spellings(option),
    };
    let cells = [long, words(option), default(option), meaning(option)];
    format!(
        "| {} |",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

fn long_spellings(option: &Opt) -> String {
    let value = match (option.kind, option.metavar()) {
        (Kind::Mode(_), Some(metavar)) => format!("[={metavar}]"),
        (_, Some(metavar)) => format!("={metavar}"),
        (_, None) => String::new(),
    };
    let short = option.short.map(|short| format!("`-{short}`"));
    let aliases = option
        .aliases
        .iter()
        .map(|alias| format!("`--{alias}{value}`"));
    let negative = option.negative().map(|name| format!("`--{name}`"));
    short
        .into_iter()
        .chain([format!("`--{}{value}`", option.name)])
        .chain(aliases)
        .chain(negative)
        .collect::<Vec<_>>()
        .join(", ")
}

fn words(option: &Opt) -> String {
    let negative = option.negative().map(|name| name.replace('-', "_"));
    std::iter::once(option.word())
        .chain(option.words.iter().map(|word| (*word).to_owned()))
        .chain(negative)
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn default(option: &Opt) -> String {
    match option.kind {
        _ if option.ignored => String::new(),
        Kind::Switch { default: true } => "on".to_owned(),
        Kind::Switch { default: false } => "off".to_owned(),
        _ if option.default.is_empty() => String::new(),
        _ => format!("`{}`", option.default),
    }
}

fn meaning(option: &Opt) -> String {
    let mut sentences = vec![match option.shown() == option.name {
        true => format!("{}.", option.help),
        false => format!("`--{}`: {}.", option.shown(), option.help),
    }];
    if !option.more.is_empty() {
        sentences.push(option.more.to_owned());
    }
    sentences.extend(option.choices().iter().map(|choice| {
        let help = choice.get_help().map(ToString::to_string);
        format!("`{}`: {}.", choice.get_name(), help.unwrap_or_default())
    }));
    match option.repeat {
        Repeat::LastWins => {}
        Repeat::SameOnly => sentences.push("*Once.*".to_owned()),
        Repeat::Adds => sentences.push("*List.*".to_owned()),
    }
    sentences.extend(not_yet(option));
    sentences.join(" ")
}

fn not_yet(option: &Opt) -> Option<String> {
    let absent: Vec<_> = features::absent(option.name)
        .map(|absent| absent.split_once('=').map(|(_, word)| format!("`{word}`")))
        .collect();
    match absent.is_empty() {
        true => None,
        false if absent.contains(&None) => Some("**Not supported yet.**".to_owned()),
        false => {
            let words: Vec<_> = absent.into_iter().flatten().collect();
            Some(format!("**Not supported yet:** {}.", words.join(", ")))
        }
    }
}

#[test]
fn options_md_says_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    let expected = options_md();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("docs/options.md can be written");
    }

    let found = std::fs::read_to_string(&path).expect("docs/options.md is there");

    assert!(
        found == expected,
        "docs/options.md is out of date: run this test with UPDATE_DOCS=1"
    );
}
