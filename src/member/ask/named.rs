//! What a person named, among all that conductors and the local network have: to be located, or to be fetched.

use std::net::SocketAddr;

use super::{
    AskingFailed, Person, can_be_asked, choice,
    everyone::{Heard, Source, everyone},
    listing,
    merged::{self, Merged, Said, holders, merge, only_held},
    near, now, some_names,
};
use crate::{
    catalogue::{AskError, Client, Composition, Entry, Holder, Key, Roster, VERSION, place::Typed},
    cli::ask::Get,
    manifest::{Endpoint, Extra, Fault, Host, Manifest, Name},
    member::{
        blocking,
        load::{self, Named},
    },
    metainfo::{InfoHash, Magnet},
};

/// Conductors that are named in a manifest because they have it in their catalogues, at most.
const MOST_CONDUCTORS: usize = 4;

/// Who has it.
///
/// # Errors
/// Nobody answers, or nothing, or several things have this name.
pub async fn roster(get: &Get) -> Result<Roster, AskingFailed> {
    let mut found = candidates(get).await?;
    let Merged { mut composition, sources } = match found.len() {
        1 => found.remove(0),
        _ => return Err(several(get, found.into_iter().map(|found| found.composition).collect())),
    };
    let hash = Key::Hash(composition.info_hash);
    let spoke: Vec<SocketAddr> =
        sources.iter().filter(|(_, is_member)| *is_member).flat_map(|(source, _)| source.places.clone()).collect();
    let (mut all, mut past, mut had_whole) = (Vec::<Holder>::new(), Vec::new(), 0);
    for (source, is_member) in &sources {
        match source.client.members(&hash).await {
            Ok(roster) if *is_member => {
                all.extend(roster.holders.into_iter().next().map(|holder| placed(holder, source)))
            }
            // Who spoke for itself may be known by another of its addresses.
            Ok(roster) => {
                had_whole = had_whole.max(roster.had_whole);
                past.extend(roster.past);
                all.extend(roster.holders.into_iter().filter(|holder| !spoke.contains(&holder.address)));
            }
            Err(error) => log::info!("{error}"),
        }
    }
    let holders = holders(all);
    let counted = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let complete = counted(holders.iter().filter(|holder| holder.complete).count());
    composition.members = composition.members.max(counted(holders.len()));
    composition.complete = composition.complete.max(complete);
    Ok(Roster { v: VERSION, composition, holders, had_whole, past: merged::past(past), member: None })
}

/// A member that was found here is where it was found.
fn placed(holder: Holder, source: &Source) -> Holder {
    Holder { address: source.client.found().unwrap_or(holder.address), ..holder }
}

/// What is to be fetched, and where members have it.
pub async fn fetch(get: &Get, person: Option<&Person>) -> Result<Named, AskingFailed> {
    let mut found = candidates(get).await?;
    let meant = match found.len() {
        1 => found.remove(0),
        _ => {
            let compositions: Vec<Composition> = found.iter().map(|found| found.composition.clone()).collect();
            let Some(person) = person.filter(|_| choice::is_possible()) else {
                return Err(several(get, compositions));
            };
            let _turn = person.0.lock().await;
            let chosen = blocking(move || choice::choose(compositions, now())).await.ok_or(AskingFailed::NotChosen)?;
            let place = found.iter().position(|found| found.composition.info_hash == chosen.info_hash);
            found.swap_remove(place.ok_or(AskingFailed::NotChosen)?)
        }
    };
    let members = members(&meant).await;
    let Composition { info_hash, name, size, .. } = &meant.composition;
    match manifest(&meant.sources, *info_hash).await {
        Ok(mut manifest) => {
            let conductors = meant.sources.iter().filter(|(_, is_member)| !is_member).map(|(source, _)| source);
            for source in conductors.filter(|source| !is_link_local(source)).take(MOST_CONDUCTORS) {
                also_ask(&mut manifest, source.client.conductor())?;
            }
            let path = manifest.name.as_str().into();
            let composition = load::Composition::of_manifest(manifest, path)?;
            Ok(Named::Composition(load::Composition { members, ..composition }))
        }
        // No manifest can say all of it, as of some torrents: who has it gives its info dictionary.
        Err(AskError::Unknown { .. }) if !members.is_empty() => {
            let peers = members.iter().map(|at| Endpoint { host: Host::Ip(at.ip()), port: at.port() }).collect();
            let (name, size) = (Some(name.clone()), Some(*size));
            Ok(Named::Magnet(Magnet { name, size, peers, ..Magnet::new(*info_hash) }))
        }
        Err(error) => Err(error.into()),
    }
}

/// All that is shared where `get` is asked, each by its info-hash, and what is being hashed there by its name.
///
/// # Errors
/// Nobody answers, or shares anything.
pub async fn all(get: &Get) -> Result<Vec<Get>, AskingFailed> {
    can_be_asked(&get.whom)?;
    let heard = everyone(&get.whom, |client| async move { client.list().await }).await;
    if heard.answers.is_empty() {
        return Err(missing(get, heard).await);
    }
    let mut keys: Vec<Key> = Vec::new();
    let mut conductor = String::new();
    for (source, listing) in heard.answers {
        conductor = source.client.conductor().to_string();
        let shared = listing.compositions.into_iter().filter(|there| there.members > 0);
        let names: Vec<String> = shared.clone().map(|there| there.name).collect();
        keys.extend(shared.map(|there| Key::Hash(there.info_hash)));
        let coming = listing.coming.into_iter().filter(|soon| !names.contains(&soon.name));
        keys.extend(coming.filter_map(|soon| Name::new(&soon.name).ok()).map(Key::Name));
    }
    let mut gets: Vec<Get> = Vec::new();
    for key in keys {
        let typed = Typed { key: Some(key), ..get.typed.clone() };
        if gets.iter().all(|known| known.typed != typed) {
            gets.push(Get { typed, whom: get.whom.clone() });
        }
    }
    match gets.is_empty() {
        true => Err(AskError::Empty { conductor }.into()),
        false => Ok(gets),
    }
}

/// Where the members are that spoke of it themselves.
async fn members(meant: &Merged<Source>) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for (source, _) in meant.sources.iter().filter(|(_, is_member)| *is_member) {
        match source.client.addresses().await {
            Ok(addresses) => all.extend(addresses),
            Err(error) => log::info!("member {} is not found: {error}", source.client.conductor()),
        }
    }
    all
}

/// From the first that gives one.
async fn manifest(sources: &[(Source, bool)], hash: InfoHash) -> Result<Manifest, AskError> {
    let mut last = Err(AskError::Unknown { conductor: String::new(), name: hash.to_string() });
    for (source, _) in sources {
        last = source.client.manifest(hash).await;
        match &last {
            Ok(_) => break,
            Err(error) => log::info!("{error}"),
        }
    }
    last
}

/// Its address says nothing without the interface that it is behind, and a manifest has no place for that.
fn is_link_local(source: &Source) -> bool {
    matches!(source.client.found(), Some(SocketAddr::V6(found)) if found.scope_id() != 0)
}

/// Names a conductor in a manifest that does not name it yet: it knows the members, whoever else does.
fn also_ask(manifest: &mut Manifest, conductor: &Endpoint) -> Result<(), Fault> {
    if manifest.conductors().any(|known| known == *conductor) {
        return Ok(());
    }
    let further = manifest.conductors().skip(usize::from(!manifest.conductor.is_unknown()));
    let all = further.chain([conductor.clone()]);
    let lines = all.map(|endpoint| Extra::new("conductor", &endpoint.to_string())).collect::<Result<_, _>>()?;
    manifest.replace(lines)
}

/// All that may be meant; never none.
async fn candidates(get: &Get) -> Result<Vec<Merged<Source>>, AskingFailed> {
    can_be_asked(&get.whom)?;
    let heard = everyone(&get.whom, |client| find(client, get.typed.key.clone())).await;
    heard.tell_left_out();
    if heard.answers.is_empty() {
        return Err(missing(get, heard).await);
    }
    let said = heard.answers.into_iter().map(|(source, (member, compositions))| Said {
        source,
        is_member: member.is_some(),
        compositions,
    });
    Ok(only_held(merge(said)))
}

/// What the key may mean there, or the only one that is; and which member says so, if one does.
async fn find(client: Client, key: Option<Key>) -> Result<(Option<String>, Vec<Composition>), AskError> {
    let found = match &key {
        Some(key) => client.find(key).await,
        None => client.only().await,
    };
    match found {
        Ok(Entry { composition, member, .. }) => Ok((member, vec![composition])),
        Err(AskError::Several { candidates, member, .. }) if key.is_some() => Ok((member, candidates)),
        Err(error) => Err(error),
    }
}

/// Why there is no such one: what there is instead is said too.
async fn missing<T>(get: &Get, mut heard: Heard<T>) -> AskingFailed {
    let is_coming = |error: &AskError| matches!(error, AskError::Coming { .. });
    if let Some(place) = heard.near.iter().position(is_coming) {
        return heard.near.swap_remove(place).into();
    }
    match (heard.conductor.take(), &get.typed.key) {
        (Some(error @ AskError::Unknown { .. }), Some(key)) => {
            AskingFailed::Advised { error, advice: advice(get, key).await }
        }
        (Some(AskError::Several { conductor, name, candidates, member }), None) => {
            let advice = some_names(&candidates, &get.whom);
            AskingFailed::Advised { error: AskError::Several { conductor, name, candidates, member }, advice }
        }
        // Somebody is there, and has not got it.
        (None | Some(AskError::Unreachable { .. }), Some(key)) if !heard.near.is_empty() => {
            AskingFailed::Nowhere { name: key.to_string(), advice: advice(get, key).await }
        }
        (conductor, _) => {
            heard.conductor = conductor;
            heard.nobody()
        }
    }
}

/// What may have been meant instead.
async fn advice(get: &Get, key: &Key) -> String {
    match listing(&get.whom).await {
        Ok(listed) => near(key, &get.whom, listed.compositions.iter().map(|found| &found.composition)),
        Err(_) => String::new(),
    }
}

fn several(get: &Get, candidates: Vec<Composition>) -> AskingFailed {
    let name = get.typed.key.as_ref().map_or_else(|| "it".to_owned(), ToString::to_string);
    let table = choice::table(&candidates, now(), None).trim_end().to_owned();
    AskingFailed::Several { name, count: candidates.len(), table }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ask::Whom;

    #[test]
    fn the_conductor_that_was_asked_is_named_once() {
        let text = "head:1\nx\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n0\n16384\n0\nconductor tail:2\n";
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        for asked in ["tail:2", "here:3", "here:3", "head:1"] {
            also_ask(&mut manifest, &asked.parse().unwrap()).unwrap();
        }
        let conductors: Vec<_> = manifest.conductors().map(|endpoint| endpoint.to_string()).collect();
        assert_eq!(conductors, ["head:1", "tail:2", "here:3"]);
    }

    /// A program that shows other things meanwhile asks in a task of its own.
    #[test]
    fn it_can_be_asked_in_the_background() {
        fn can_be_sent(_: &impl Send) {}
        let typed = Typed::parse("x", false).unwrap();
        let get =
            Get { typed, whom: Whom { conductors: Vec::new(), members: Vec::new(), are_named: false, near: None } };
        can_be_sent(&fetch(&get, Some(&Person::default())));
        can_be_sent(&roster(&get));
    }
}
