//! `conductor`: arguments in, exit code out.

use std::process::ExitCode;

use orchestra::{
    cli::{Exit, conductor::Settings, conductor::settings, logging},
    conductor::{self, Config, Voice},
    net::shutdown,
    ui::to_stderr,
};

fn main() -> ExitCode {
    let settings = settings(std::env::args_os()).unwrap_or_else(|error| error.exit());
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
            to_stderr(&format!("conductor: {error}"));
            Exit::Other.into()
        }
    }
}

#[tokio::main]
async fn conduct(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let stop = shutdown::on_signal()?;
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
    Ok(conductor::run(config, stop).await?)
}
