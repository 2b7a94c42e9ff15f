//! `member search` and `member neighbours`: asks, and shows what is answered as it comes.
//!
//! It asks by [`neighbours::asker`](super::neighbours::asker), keeps what comes in [`findings`], and believes none of it.
//! On a terminal the answers stand above a spinner while more may come; elsewhere the table comes at the end, or with
//! `--json` a line for each as it comes.

pub mod findings;

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    pin::pin,
    time::Duration,
};

use console::Term;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    ask::table::{self, Table},
    leave_on_q,
    neighbours::asker::{Asking, News},
};
use crate::{
    cli::{Exit, search::Quest},
    manifest::shown,
    ui::{
        Signs, json,
        output::{self, Lost},
        report::counted,
        to_stderr,
    },
    wire::extension::search::Asks,
};
use findings::Findings;

const FRAME: Duration = Duration::from_millis(100);
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ASCII_SPINNER: [&str; 4] = ["|", "/", "-", "\\"];

/// Asks until nothing more comes. To be called inside a tokio runtime.
pub async fn run(quest: Quest, stop: CancellationToken) -> Exit {
    let start = std::time::Instant::now();
    let stop = stop.child_token();
    let asking = Asking::start(quest.settings.clone(), quest.asks.clone(), quest.hops, &stop).await;
    let mut asking = match asking {
        Ok(asking) => asking,
        Err(error) => {
            log::error!("{error}");
            to_stderr(&format!("error: {error}"));
            if quest.json {
                json::failed(None, error.exit(), &error.to_string(), start.elapsed());
            }
            return error.exit();
        }
    };
    let _keys = leave_on_q(&stop);
    let is_seen = io::stderr().is_terminal() && !quest.json;
    let mut hearing = Hearing {
        quest,
        findings: Findings::default(),
        asked: Vec::new(),
        live: is_seen.then(Live::new),
        printed: Ok(()),
    };
    hearing.work(&mut asking, &stop).await;
    if let Some(live) = &mut hearing.live {
        live.clear();
    }
    let exit = hearing.tell_end(stop.is_cancelled(), start.elapsed());
    asking.end().await;
    exit
}

struct Hearing {
    quest: Quest,
    findings: Findings,
    /// Members that were asked directly.
    asked: Vec<SocketAddr>,
    live: Option<Live>,
    /// Whether the answers so far arrived on stdout.
    printed: Result<(), Lost>,
}

impl Hearing {
    async fn work(&mut self, asking: &mut Asking, stop: &CancellationToken) {
        let mut frame = interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut end = pin!(sleep_until(Instant::now() + self.quest.timeout));
        loop {
            let is_new = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(news) = asking.news.recv() => self.hear(news),
                () = &mut end => return,
                _ = frame.tick(), if self.live.is_some() => {
                    self.draw();
                    false
                }
            };
            if is_new {
                end.as_mut().reset(Instant::now() + self.quest.timeout);
            }
        }
    }

    /// Whether that is news.
    fn hear(&mut self, news: News) -> bool {
        match news {
            News::Asked(address) => {
                log::info!("{address} is asked");
                self.asked.push(address);
                true
            }
            News::Answer(answer) => {
                let lines = self.findings.add(answer);
                if self.quest.json && self.printed.is_ok() {
                    self.printed = lines.iter().try_for_each(|line| output::print_line(line));
                }
                !lines.is_empty()
            }
        }
    }

    fn table(&self) -> Table {
        match self.quest.asks {
            Asks::For(_) => table::finds(&self.findings.found),
            Asks::Who => table::neighbours(&self.findings.neighbours),
        }
    }

    fn draw(&mut self) {
        let table = if self.findings.is_empty() { None } else { Some(self.table()) };
        let status = match (self.asked.len(), &self.quest.asks) {
            (0, _) => "looking for members to ask".to_owned(),
            (asked, Asks::For(_)) => format!("{} asked, {} found", members(asked), self.findings.found.len()),
            (asked, Asks::Who) => format!("{} asked", members(asked)),
        };
        if let Some(live) = &mut self.live {
            live.draw(table, &status);
        }
    }

    fn tell_end(&mut self, interrupted: bool, elapsed: Duration) -> Exit {
        let Quest { asks, hops, timeout, json, .. } = &self.quest;
        if !self.findings.is_empty() {
            if !json {
                let columns = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
                let columns = columns.filter(|_| io::stdout().is_terminal());
                self.printed = output::print(&self.table().render(columns, Signs::of_locale()));
                if let Some(first) = self.findings.found.first() {
                    to_stderr(&format!("fetch the first with:\n{}", first.command()));
                }
            }
            return output::exit_of(std::mem::replace(&mut self.printed, Ok(())), Exit::Done);
        }
        if interrupted {
            if *json {
                json::failed(None, Exit::Interrupted, "interrupted", elapsed);
            }
            return Exit::Interrupted;
        }
        let text = match (self.asked.len(), asks) {
            (0, _) => format!(
                "no member answered within {}: start one here (member share PATH), or name one (--neighbour HOST:PORT)",
                crate::cli::units::duration(*timeout)
            ),
            (asked, Asks::For(text)) => {
                format!("nobody has {:?}: {} asked, and whoever is up to {hops} hops away", shown(text), members(asked))
            }
            (asked, Asks::Who) => format!("nobody said who it is: {} asked", members(asked)),
        };
        log::info!("{text}");
        to_stderr(&format!("error: {text}"));
        let exit = if self.asked.is_empty() { Exit::NobodyAnswered } else { Exit::Missing };
        if *json {
            json::failed(None, exit, &text, elapsed);
        }
        exit
    }
}

fn members(count: usize) -> String {
    counted(count as u64, "member")
}

/// The answers so far and a spinner, drawn again and again in the same place on stderr.
struct Live {
    term: Term,
    /// Lines that stand there.
    lines: usize,
    frame: usize,
    signs: Signs,
}

impl Live {
    fn new() -> Self {
        Self { term: Term::stderr(), lines: 0, frame: 0, signs: Signs::of_locale() }
    }

    fn clear(&mut self) {
        let _ = self.term.clear_last_lines(std::mem::take(&mut self.lines));
    }

    fn draw(&mut self, table: Option<Table>, status: &str) {
        let (rows, columns) = self.term.size();
        let columns = usize::from(columns);
        let table = table.map(|table| table.render(Some(columns), self.signs)).unwrap_or_default();
        let all: Vec<&str> = table.lines().collect();
        // What does not fit comes with the table at the end.
        let fit = all.len().min(usize::from(rows).saturating_sub(2));
        let spinner: &[&str] = if self.signs.unicode { &SPINNER } else { &ASCII_SPINNER };
        let status = format!("{} {status}; q ends", spinner[self.frame % spinner.len()]);
        self.frame += 1;
        let lines = all[..fit].iter().copied().chain([&*status]);
        let mark = self.signs.ellipsis().to_string();
        let cut = lines.map(|line| console::truncate_str(line, columns.saturating_sub(1), &mark).into_owned() + "\n");
        let text: String = cut.collect();
        self.clear();
        self.lines = fit + 1;
        let _ = self.term.write_str(&text);
    }
}
