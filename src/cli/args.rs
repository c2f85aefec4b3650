//! The definition of the command line for clap, made from the table, and what
//! clap found, as settings in the order they were typed.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::clap_error::usage_error;
use super::compat;
use super::error::UsageError;
use super::features;
use super::option::{Id, Kind, Opt};
use super::setting::Setting;
use super::table::{self, Section};

const WORDS: &str = "o";
const CAPABILITIES: &str = "print-capabilities";
const COMPLETIONS: &str = "completions";
const MAN: &str = "man";

const AFTER_HELP: &str = "\
Every option can be written in two ways: `--cache=never` or `-o cache=never`, \
`--no-announce-submounts` or `-o no_announce_submounts`; in -o, several are \
separated by commas and `-` in a name becomes `_`. What has no value is turned \
on by its name and off with `no-` before it. Where an option is given more than \
once, the last one counts, but what concerns the isolation may not contradict \
itself.

Exit status: 0 after an orderly end, 1 when start-up or the front-end's \
protocol fails, 2 when the command line cannot be served.";

/// What the command line asks for, as far as clap can tell.
pub(super) enum Parsed {
    Settings(Vec<Setting>),
    /// The help or the version.
    Text(String),
    Capabilities,
    Completions(Shell),
    Man,
}

/// Reads a whole command line, program name included.
pub(super) fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    let matches = match command().try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Parsed::Text(error.to_string())),
        Err(error) => return Err(usage_error(&error)),
    };
    if matches.get_flag(CAPABILITIES) {
        return Ok(Parsed::Capabilities);
    }
    if matches.get_flag(MAN) {
        return Ok(Parsed::Man);
    }
    if let Some(shell) = matches.get_one::<Shell>(COMPLETIONS) {
        return Ok(Parsed::Completions(*shell));
    }
    settings(&matches).map(Parsed::Settings)
}

/// The definition that parsing, help, man page and completions share.
pub(super) fn command() -> Command {
    let command = Command::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Share a host directory with a virtual machine over virtio-fs")
        .override_usage(
            "virtiofsd --shared-dir DIR --socket-path PATH [OPTIONS]\n       \
             virtiofsd --shared-dir DIR --fd N [OPTIONS]",
        )
        .after_long_help(AFTER_HELP)
        .after_help("`--help` says more about each option.")
        .max_term_width(100)
        .disable_help_flag(true)
        .disable_version_flag(true);
    let command = table::SECTIONS.iter().fold(command, add_section);
    command.next_help_heading("Other").args(other_args())
}

fn add_section(command: Command, section: &Section) -> Command {
    section
        .options
        .iter()
        .filter(|option| !option.word_only)
        .fold(
            command.next_help_heading(section.heading),
            |command, option| command.args(option_args(option)),
        )
}

/// The argument for each spelling of `option`, the one the help shows first.
fn option_args(option: &Opt) -> Vec<Arg> {
    let mut spellings = vec![option.name.to_owned()];
    spellings.extend(option.negative());
    spellings
        .into_iter()
        .map(|spelling| {
            let arg = arg(option, &spelling);
            if spelling == option.shown() {
                arg.help(help(option)).long_help(long_help(option))
            } else {
                arg.help(format!("The opposite of --{}", option.shown()))
                    .hide(true)
            }
        })
        .collect()
}

fn arg(option: &Opt, spelling: &str) -> Arg {
    let arg = Arg::new(spelling.to_owned())
        .long(spelling.to_owned())
        .action(ArgAction::Append)
        .value_parser(AnyText(option.choices()));
    if spelling != option.name {
        return alone(arg);
    }
    let arg = arg.short(option.short).aliases(option.aliases);
    match option.kind {
        Kind::Switch { .. } => alone(arg),
        Kind::Mode(_) => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("always")
            .value_name("WHEN"),
        Kind::Text(metavar) => arg
            .value_name(metavar)
            // `-mknod` is a value, not five short options.
            .allow_hyphen_values(option.id == Id::Modcaps),
        Kind::Choice(metavar, _) => arg.value_name(metavar),
    }
}

/// Takes no value; the empty one only makes clap note where it was typed.
fn alone(arg: Arg) -> Arg {
    arg.num_args(0).default_missing_value("")
}

fn help(option: &Opt) -> String {
    let mut help = option.help.to_owned();
    if !option.default.is_empty() {
        help += &format!(" [default: {}]", option.default);
    }
    if features::absent(option.name).any(|absent| absent == option.name) {
        help += " [not supported yet]";
    }
    help
}

/// Full sentences, because the man page runs the lines together.
fn long_help(option: &Opt) -> String {
    let sentences: Vec<_> = [
        (!option.more.is_empty()).then(|| option.more.to_owned()),
        (option.shown() != option.name).then(|| format!("Opposite: --{}.", option.name)),
        absent_words(option).map(|words| format!("Not supported yet: {words}.")),
    ]
    .into_iter()
    .flatten()
    .collect();
    match sentences.is_empty() {
        true => help(option),
        false => format!("{}.\n{}", help(option), sentences.join("\n")),
    }
}

/// The words of a choice that are refused, unless the whole option is.
fn absent_words(option: &Opt) -> Option<String> {
    let words: Vec<_> = features::absent(option.name)
        .filter_map(|absent| absent.split_once('='))
        .map(|(_, word)| word)
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn other_args() -> [Arg; 6] {
    let flag = |name, help| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    [
        Arg::new(WORDS)
            .short('o')
            .value_name("WORD[=VALUE],...")
            .action(ArgAction::Append)
            .value_parser(OsStringValueParser::new())
            .help(
                "The same options as words, as for mount(8), such as `-o source=DIR,cache=never`",
            ),
        flag(
            CAPABILITIES,
            "Print what a management layer may ask for, as JSON",
        ),
        Arg::new(COMPLETIONS)
            .long(COMPLETIONS)
            .value_name("SHELL")
            .value_parser(value_parser!(Shell))
            .help("Print the completions for a shell"),
        flag(MAN, "Print the man page, for man(1)"),
        Arg::new("help")
            .long("help")
            .short('h')
            .action(ArgAction::Help)
            .help("Print this help; -h the short one"),
        Arg::new("version")
            .long("version")
            .short('V')
            .action(ArgAction::Version)
            .help("Print the version"),
    ]
}

/// Takes any value, because the values of both dialects are checked in one
/// place, later; the choices are for help and completions.
#[derive(Clone)]
struct AnyText(Vec<PossibleValue>);

impl TypedValueParser for AnyText {
    type Value = OsString;

    fn parse_ref(
        &self,
        _command: &Command,
        _arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match self.0.is_empty() {
            true => None,
            false => Some(Box::new(self.0.iter().cloned())),
        }
    }
}

/// What clap found, in the order it was typed.
fn settings(matches: &ArgMatches) -> Result<Vec<Setting>, UsageError> {
    let mut found = Vec::new();
    for option in table::options().filter(|option| !option.word_only) {
        for (at, value) in typed(matches, option.name) {
            let value = (!matches!(option.kind, Kind::Switch { .. })).then_some(value);
            let setting = Setting::new(option, format!("--{}", option.name), true, value)?;
            found.push((at, vec![setting]));
        }
        if let Some(name) = option.negative() {
            for (at, _) in typed(matches, &name) {
                let setting = Setting::new(option, format!("--{name}"), false, None)?;
                found.push((at, vec![setting]));
            }
        }
    }
    for (at, list) in typed(matches, WORDS) {
        found.push((at, compat::parse(list)?));
    }
    found.sort_by_key(|(at, _)| *at);
    Ok(found
        .into_iter()
        .flat_map(|(_, settings)| settings)
        .collect())
}

/// The values given for the argument `name`, each with its place in argv.
fn typed<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = (usize, &'a OsStr)> {
    let places = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<OsString>(name).into_iter().flatten();
    places.zip(values.map(OsString::as_os_str))
}
