//! `conductor`: arguments in, exit code out.

use std::{process::ExitCode, time::Instant};

use orchestra::{
    cli::{
        Exit,
        conductor::{Backup, Settings, Told, told},
        logging, tokens, usage,
    },
    conductor::{self, Config, Voice, backup},
    net::shutdown,
    ui::{self, output, to_stderr},
};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    match told(std::env::args_os()).unwrap_or_else(|error| usage::end("conductor", error)) {
        Told::Conduct(settings) => start(*settings),
        Told::Backup(backup) => copy(&backup),
    }
}

/// Copies the catalogue of a conductor that may run.
fn copy(Backup { store, file, force, json }: &Backup) -> ExitCode {
    let start = Instant::now();
    match backup::write(store, file, *force) {
        Ok(compositions) => {
            let counted = ui::report::counted(compositions as u64, "composition");
            to_stderr(&format!("conductor: {counted} copied to {}", file.display()));
            let size = file.metadata().map_or(0, |file| file.len());
            let early = ui::End::early(None, Exit::Done, start.elapsed());
            let copied = ui::Report::Copied { path: file.clone(), compositions, size };
            let end = ui::Report::End(ui::End { path: Some(file.clone()), size, have: size, ..early });
            let printed = if *json { ui::json::tell([copied, end]) } else { Ok(()) };
            output::exit_of(printed, Exit::Done).into()
        }
        Err(error) => {
            to_stderr(&format!("error: {error}"));
            if *json {
                ui::json::failed(None, Exit::Other, &error.to_string(), start.elapsed());
            }
            Exit::Other.into()
        }
    }
}

fn start(settings: Settings) -> ExitCode {
    let (start, json) = (Instant::now(), settings.json);
    for note in &settings.notes {
        to_stderr(note);
    }
    if let Err(error) = logging::start("conductor", &settings.log_dir) {
        to_stderr(&error.to_string());
    }
    match conduct(settings) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            log::error!("{error}");
            to_stderr(&format!("error: {error}"));
            if json {
                ui::json::failed(None, Exit::Other, &error.to_string(), start.elapsed());
            }
            Exit::Other.into()
        }
    }
}

#[tokio::main]
async fn conduct(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let (stop, asked) = shutdown::on_signal_or_reload()?;
    let (reload, reloads) = mpsc::channel(1);
    tokio::spawn(tokens::follow(settings.token_file, asked, reload));
    let config = Config {
        listen: settings.listen,
        store: settings.store,
        tokens: settings.tokens,
        own_writer: None,
        only_registered: settings.only_registered,
        voice: if settings.json { Voice::Json } else { Voice::People },
        no_rate_limit: settings.no_rate_limit,
        metrics: settings.metrics,
        lan: settings.lan,
    };
    Ok(conductor::run(config, stop, reloads).await?)
}
