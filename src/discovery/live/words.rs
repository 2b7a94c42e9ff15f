//! What a member says over its live link: hello, how far it is, that it leaves.

use std::net::{IpAddr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{Broken, CLOSE_TIMEOUT, Kept, Socket, State, Strand};
use crate::announce::live::{Hello, SILENCE, Said, VERSION};

pub async fn greet(socket: &mut Socket, kept: &mut Kept, near: IpAddr) -> Result<(), Broken> {
    let Strand { identity, progress, first, .. } = &mut kept.strand;
    let fetched = progress.borrow().downloaded > 0;
    let progress = match first.take() {
        // What was fetched since is said next. What was only found on the disk never was missing.
        Some(first) if fetched => first,
        _ => progress.borrow_and_update().clone(),
    };
    let hello = Hello {
        v: VERSION,
        info_hash: identity.info_hash,
        peer_id: identity.id,
        key: identity.key,
        port: identity.port,
        ip: identity.ip,
        near: vec![near],
        name: identity.name.clone(),
        copy: identity.copy,
        progress,
    };
    kept.state = State::Said;
    say(socket, &Said::Hello(hello)).await
}

/// Says how far we are, if that is news.
pub async fn report(socket: &mut Socket, strand: &mut Strand, state: State) -> Result<(), Broken> {
    if state != State::Taken {
        return Ok(());
    }
    report_now(socket, strand).await
}

pub async fn report_now(socket: &mut Socket, strand: &mut Strand) -> Result<(), Broken> {
    if !strand.progress.has_changed().unwrap_or(false) {
        return Ok(());
    }
    let (info_hash, progress) = (strand.identity.info_hash, strand.progress.borrow_and_update().clone());
    say(socket, &Said::Progress { info_hash, progress }).await
}

/// Says what is still to be said. A hello that was not answered yet was heard before this.
pub async fn leave(socket: &mut Socket, mut kept: Kept, near: IpAddr, at: SocketAddr) -> Result<Kept, Broken> {
    if kept.state == State::Unsaid && kept.strand.completed_unheard() {
        greet(socket, &mut kept, near).await?;
    }
    if matches!(kept.state, State::Said | State::Taken) {
        report_now(socket, &mut kept.strand).await?;
    }
    say(socket, &Said::Leave { info_hash: kept.strand.identity.info_hash }).await?;
    if kept.state != State::Unsaid {
        // Nothing of it is to be announced again.
        kept.strand.up.send_replace(Some(at));
    }
    Ok(kept)
}

/// Closes the link, once the conductor has read all that was said: a connection that is closed with something unread at
/// this end is reset, which may cost the last words.
pub async fn part(socket: &mut Socket) {
    let closed = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
        log::info!("a conductor did not close its live link in time");
    }
}

async fn say(socket: &mut Socket, said: &Said) -> Result<(), Broken> {
    let text = serde_json::to_string(said).map_err(|error| Broken::Connect(error.into()))?;
    timeout(SILENCE, socket.send(Message::text(text))).await.map_err(|_| Broken::Silent)??;
    Ok(())
}
