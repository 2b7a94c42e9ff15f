//! What the programs' command lines have in common: how a setting is shown, and whether colours are used.

use std::{ffi::OsStr, io::IsTerminal, path::PathBuf};

use clap::{
    Arg, ArgAction, Args, Command, ValueEnum,
    builder::{BoolishValueParser, Styles, TypedValueParser, styling::AnsiColor},
};

use super::logging::LogDir;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    Always,
    Never,
}

impl Colour {
    /// Whether to colour what goes to stderr.
    pub fn on_stderr(self) -> bool {
        self.on(&std::io::stderr())
    }

    /// Whether to colour what goes to stdout.
    pub fn on_stdout(self) -> bool {
        self.on(&std::io::stdout())
    }

    fn on(self, stream: &impl IsTerminal) -> bool {
        let set = |key| std::env::var_os(key).is_some_and(|value| !value.is_empty());
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                stream.is_terminal()
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").as_deref() != Some(OsStr::new("dumb"))
            }
        }
    }
}

/// What a program shows, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScreenOptions {
    /// One JSON object a line on stdout, nothing else there.
    pub json: bool,
    /// Only errors.
    pub quiet: bool,
    /// Also which part comes from whom; never together with `quiet`.
    pub verbose: bool,
    /// Whether a bar is drawn where stderr is a terminal.
    pub progress: bool,
    pub colour: Colour,
}

/// The flags of composer and member about their output.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct Output {
    /// Write one JSON object a line on stdout instead of text for people
    ///
    /// {"v":1,"time":...,"event":...}: bytes, bytes/s and seconds; the event "end" comes last. Default: text.
    #[arg(long, env = "ORCHESTRA_JSON", hide_env_values = true, value_parser = flag())]
    json: bool,

    /// Draw no progress bar, also on a terminal: plain lines instead
    ///
    /// Default: a bar where stderr is a terminal.
    #[arg(long, env = "ORCHESTRA_NO_PROGRESS", hide_env_values = true, value_parser = flag())]
    no_progress: bool,

    /// Use colours: auto, always or never
    ///
    /// With "auto" they are used on a terminal, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_enum, hide_possible_values = true)]
    #[arg(env = "ORCHESTRA_COLOR", hide_env_values = true)]
    color: Colour,

    #[command(flatten)]
    log: Log,
}

impl Output {
    pub(super) fn screen(&self) -> ScreenOptions {
        ScreenOptions { json: self.json, progress: !self.no_progress, colour: self.color, ..ScreenOptions::default() }
    }

    pub(super) fn log_dir(&self) -> LogDir {
        self.log.log_dir()
    }
}

/// How much member says.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct Loudness {
    /// Say only what went wrong, also beside -v
    #[arg(short, long, env = "ORCHESTRA_QUIET", hide_env_values = true, value_parser = flag())]
    quiet: bool,

    /// Say also who comes and goes, and which part comes from whom
    #[arg(short, long, env = "ORCHESTRA_VERBOSE", hide_env_values = true, value_parser = flag())]
    verbose: bool,
}

impl Loudness {
    pub(super) fn of(self, screen: ScreenOptions) -> ScreenOptions {
        // Where a variable says the one and the command line the other, clap cannot tell which is meant more.
        ScreenOptions { quiet: self.quiet, verbose: self.verbose && !self.quiet, ..screen }
    }
}

/// Where the log goes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct Log {
    /// Keep the log in this folder; "-" for stderr
    ///
    /// It is made when missing; the last 3 x 10 MiB are kept. RUST_LOG sets the level (default: info).
    #[arg(long, value_name = "DIR", default_value = "logs")]
    #[arg(env = "ORCHESTRA_LOG_DIR", hide_env_values = true)]
    log_dir: PathBuf,
}

impl Log {
    pub(super) fn log_dir(&self) -> LogDir {
        match self.log_dir.as_os_str() == "-" {
            true => LogDir::Stderr,
            false => LogDir::Folder(self.log_dir.clone()),
        }
    }
}

/// A flag that its environment variable may set to 1, true, yes or on (or their opposites).
pub(super) fn flag() -> BoolishValueParser {
    BoolishValueParser::new()
}

/// How all three programs colour their help.
pub(super) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Whether this argument is a switch, that takes no value on the command line.
pub(super) fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// What a switch's value in an environment says: on, off, or nothing that is understood.
pub(super) fn parse_switch(value: &str) -> Option<bool> {
    let parsed = flag().parse_ref(&Command::default(), None, OsStr::new(value));
    parsed.ok()
}
