//! What a row of the table of options says, and the spellings that follow from it.

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// Names a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    AllowDirectIo,
    AllowMmap,
    AllowRoot,
    AnnounceSubmounts,
    Cache,
    Daemonize,
    Debug,
    FailSetgroups,
    Fd,
    Flock,
    Foreground,
    Fsname,
    GidMap,
    InodeFileHandles,
    KillprivV2,
    LogLevel,
    MaxIdleThreads,
    MigrationConfirmPaths,
    MigrationMode,
    MigrationOnError,
    MigrationVerifyHandles,
    Modcaps,
    PosixAcl,
    PosixLock,
    PreserveNoatime,
    Readdirplus,
    Readonly,
    RlimitNofile,
    Sandbox,
    Seccomp,
    SecurityLabel,
    SharedDir,
    SocketGroup,
    SocketPath,
    Subtype,
    Syslog,
    Tag,
    ThreadPoolSize,
    Timeout,
    TranslateGid,
    TranslateUid,
    UidMap,
    Writeback,
    Xattr,
    Xattrmap,
}

/// What may follow the name of an option.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nothing; the name alone turns it on, with `no-` before it off.
    Switch { default: bool },
    /// A value of free form, shown under this name.
    Text(&'static str),
    /// One of these words, shown under this name.
    Choice(&'static str, Words),
    /// As a choice, but the name alone means `always` and with `no-` before it `never`.
    Mode(Words),
}

/// The words of a choice.
pub(super) type Words = fn() -> Vec<PossibleValue>;

/// The words that the type `T` knows, with their help.
pub(super) fn words<T: ValueEnum>() -> Vec<PossibleValue> {
    T::value_variants()
        .iter()
        .filter_map(T::to_possible_value)
        .collect()
}

/// What happens when an option is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The last one counts.
    LastWins,
    /// It may only say the same again: two different values are more likely
    /// a mistake that weakens the isolation than a wish.
    SameOnly,
    /// Each adds to a list.
    Adds,
}

/// One row: everything there is to say about one option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    pub id: Id,
    /// The long name, without dashes before it. The `-o` word is the same with underscores.
    pub name: &'static str,
    pub short: Option<char>,
    /// Further long names, accepted but not shown.
    pub aliases: &'static [&'static str],
    /// Further `-o` words.
    pub words: &'static [&'static str],
    /// Known to the `-o` dialect only.
    pub word_only: bool,
    /// Accepted for the sake of old command lines, without any effect.
    pub ignored: bool,
    pub kind: Kind,
    /// The default as the user would write it; empty if there is none.
    pub default: &'static str,
    pub repeat: Repeat,
    /// One line, about the spelling that [`Opt::shown`] gives.
    pub help: &'static str,
    /// What there is to add, in the long help only.
    pub more: &'static str,
}

impl Opt {
    pub const fn new(id: Id, name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            id,
            name,
            short: None,
            aliases: &[],
            words: &[],
            word_only: false,
            ignored: false,
            kind,
            default: "",
            repeat: Repeat::LastWins,
            help,
            more: "",
        }
    }

    /// A switch that is off unless given; `help` says what turning it on does.
    pub const fn off(id: Id, name: &'static str, help: &'static str) -> Self {
        Self::new(id, name, Kind::Switch { default: false }, help)
    }

    /// A switch that is on unless turned off; `help` says what turning it off does.
    pub const fn on(id: Id, name: &'static str, help: &'static str) -> Self {
        Self::new(id, name, Kind::Switch { default: true }, help)
    }

    pub const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub const fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    pub const fn more(mut self, more: &'static str) -> Self {
        self.more = more;
        self
    }

    pub const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }

    pub const fn word_only(mut self) -> Self {
        self.word_only = true;
        self
    }

    /// The `-o` word that goes with the long name.
    pub fn word(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The long name that turns it off, if it can be turned off.
    pub fn negative(&self) -> Option<String> {
        match self.kind {
            Kind::Switch { .. } | Kind::Mode(_) if !self.ignored => {
                Some(format!("no-{}", self.name))
            }
            _ => None,
        }
    }

    /// The long name shown in the help: the one that changes the default.
    pub fn shown(&self) -> String {
        match self.kind {
            Kind::Switch { default: true } => format!("no-{}", self.name),
            _ => self.name.to_owned(),
        }
    }

    /// The word that stands for the value in help and documentation.
    pub fn metavar(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Switch { .. } => None,
            Kind::Text(metavar) | Kind::Choice(metavar, _) => Some(metavar),

            Kind::Mode(_) => Some("WHEN"),
        }
    }

    /// The words to choose from; empty for other kinds.
    pub fn choices(&self) -> Vec<PossibleValue> {
        match self.kind {
            Kind::Choice(_, words) | Kind::Mode(words) => words(),
            Kind::Switch { .. } | Kind::Text(_) => Vec::new(),
        }
    }
}
