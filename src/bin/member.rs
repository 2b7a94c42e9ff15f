//! `member`: arguments in, exit code out.

use std::process::ExitCode;

use orchestra::{
    cli::{
        Exit, LogDir,
        ask::{Told, told},
        logging, usage,
    },
    hashing, member,
    net::shutdown,
    ui::to_stderr,
};

fn main() -> ExitCode {
    let told = told(std::env::args_os()).unwrap_or_else(|error| usage::end("member", error));
    let (log_dir, notes): (&LogDir, &[String]) = match &told {
        Told::Share(settings) => (&settings.log_dir, &settings.notes),
        Told::Offer(offer) => (&offer.settings.log_dir, &offer.settings.notes),
        Told::Menu(menu) => (&menu.settings.log_dir, &menu.settings.notes),
        Told::Search(quest) => (&quest.settings.log_dir, &quest.settings.notes),
        Told::Verify(verify) => (&verify.log_dir, &verify.notes),
        Told::Say(question) => (&question.log_dir, &question.notes),
    };
    for note in notes {
        to_stderr(note);
    }
    if let Err(error) = logging::start("member", log_dir) {
        to_stderr(&error.to_string());
    }
    log::info!("SHA-1: {}", hashing::backend());
    let exit = run(told).unwrap_or_else(|error| {
        to_stderr(&format!("error: member cannot start: {error}"));
        Exit::Other
    });
    exit.into()
}

fn run(told: Told) -> std::io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let stop = shutdown::on_signal()?;
        Ok(match told {
            Told::Share(settings) => member::run(*settings, stop).await,
            Told::Offer(offer) => member::share::run(*offer, stop).await,
            Told::Menu(menu) => member::menu::run(*menu, stop).await,
            Told::Search(quest) => member::search::run(*quest, stop).await,
            Told::Verify(verify) => member::verify::run(*verify, stop).await,
            Told::Say(question) => member::ask::say(*question, stop).await,
        })
    });
    // What still runs on other threads is on its way to the disk or to nobody; it is not waited for.
    runtime.shutdown_background();
    exit
}
