//! When a member ends by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::super::{options::flag, units::parse_duration};

/// When a member ends by itself: as soon as the first of these is met; never, if there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Until {
    /// As soon as the own copy is whole.
    pub done: bool,
    /// Having shared for so long after the own copy was whole.
    pub seed_time: Option<Duration>,
    /// Having uploaded so many times the composition's size.
    pub seed_ratio: Option<f64>,
    /// As soon as these have it whole.
    pub all: Option<UntilAll>,
}

/// Whose copies are waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum UntilAll {
    /// So many machines, this one counted.
    Members(u32),
    /// The machines of these names or addresses.
    Named(Vec<String>),
}

/// What was told of the end.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "When to end (the first that is met; default: q)")]
pub struct End {
    /// End as soon as everything is whole and verified
    #[arg(long, env = "ORCHESTRA_EXIT_WHEN_DONE", hide_env_values = true, value_parser = flag())]
    exit_when_done: bool,

    /// End having shared for so long, such as 30m or 2h
    ///
    /// Counted from when everything is whole. A number alone is seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    #[arg(env = "ORCHESTRA_SEED_TIME", hide_env_values = true)]
    seed_time: Option<Duration>,

    /// End having sent so many times the size
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    #[arg(env = "ORCHESTRA_SEED_RATIO", hide_env_values = true)]
    seed_ratio: Option<f64>,

    /// End when so many machines have it whole, or all that a file lists
    ///
    /// N machines, this one and those that left counted; several folders of one machine count once. Or @HOSTS: each host
    /// in the file HOSTS, one a line, by its member's name (see --name) or its IP address. A machine counts once a
    /// connection to this member showed that it has everything; what others only say of it does not count. It says who has
    /// it and who has not. If it ends before, the exit code is 8.
    #[arg(long, value_name = "N|@HOSTS", value_parser = wanted)]
    #[arg(env = "ORCHESTRA_UNTIL_ALL", hide_env_values = true)]
    until_all: Option<Wanted>,

    /// Give up when no new part came for so long
    ///
    /// The exit code is 4; 7 if nobody ever answered, 9 if every conductor refused and no member was met. Of "get" also when
    /// no conductor answered (7), or nobody knew the name (10); 0 does not wait for either. Default: wait, saying once a
    /// minute what for.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    #[arg(env = "ORCHESTRA_TIMEOUT", hide_env_values = true)]
    pub timeout: Option<Duration>,
}

impl End {
    /// Reads who is waited for, if a file names them.
    pub fn until(self) -> Result<Until, String> {
        let all = match self.until_all {
            None => None,
            Some(Wanted::Members(count)) => Some(UntilAll::Members(count)),
            Some(Wanted::NamedIn(path)) => Some(UntilAll::Named(names(&path)?)),
        };
        Ok(Until { done: self.exit_when_done, seed_time: self.seed_time, seed_ratio: self.seed_ratio, all })
    }
}

/// `--until-all` as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Members(u32),
    NamedIn(PathBuf),
}

fn wanted(text: &str) -> Result<Wanted, &'static str> {
    if let Some(path) = text.strip_prefix('@').filter(|path| !path.is_empty()) {
        return Ok(Wanted::NamedIn(path.into()));
    }
    match text.parse() {
        Ok(count) if count > 0 => Ok(Wanted::Members(count)),
        _ => Err("expected how many members, such as 3, or @ and a file that names them, such as @hosts.txt"),
    }
}

/// The names in this file, one a line; empty lines and what is behind a # do not count.
fn names(path: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read the names of --until-all from {}: {error}", path.display()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let names: Vec<String> = lines.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match names.is_empty() {
        true => Err(format!("{} names no member: write one name a line", path.display())),
        false => Ok(names),
    }
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err("expected a number such as 1.5"),
    }
}
