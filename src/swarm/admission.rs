//! Who becomes a neighbour: which new connections are taken in, and which old ones go for them.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::{Effect, MOST_GUESTS, Swarm, neighbour::Neighbour};
use crate::{
    net::range::range,
    peer::{Introduction, PeerKey, liveness::Silence},
    time::Time,
    wire::handshake::PeerId,
};

/// Time within which a connection has to bring something that is missing, or a second one of its peer id is admitted from
/// an address of another kind.
const USEFUL_TIMEOUT: Time = Time::from_secs(10);

/// Two connections with one member that are opened within this time may both be on their way before either side knows.
const AT_ONCE: Time = Time::from_secs(2);

/// How a new neighbour is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// For good.
    Seat,
    /// To be told of others.
    Guest,
}

/// What this id draws when places are few.
fn lot(lots: u64, id: PeerId) -> u64 {
    let seed = id.0.iter().fold(lots, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3).rotate_left(23));
    fastrand::Rng::with_seed(seed).u64(..)
}

/// Whether a new connection of the same peer shows that the old one is dead. A peer that owes us something and is silent
/// may have come back with another address. One that has nothing to say may be silent for long: whoever knows its id (it
/// tells everybody) must not push it out from elsewhere.
fn is_gone(old: &Neighbour, new: &Introduction) -> bool {
    let ip = |introduction: &Introduction| introduction.address.ip().to_canonical();
    match old.silence {
        Silence::Over => false,
        Silence::Idle => ip(&old.introduction) == ip(new),
        Silence::Owing | Silence::Overdue => true,
    }
}

/// Whether two addresses are of one IP version and reached from equally far away.
fn are_alike(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4() && range(one) == range(other)
}

impl Swarm {
    pub(super) fn on_introduced(&mut self, key: PeerKey, introduction: Introduction, now: Time) {
        let guest = match self.may_join(&introduction, now) {
            Ok(place) => place == Place::Guest,
            Err(why) => {
                if introduction.dialled {
                    self.known.failed(introduction.address, now);
                }
                self.effects.push_back(Effect::Refuse(key, why));
                return;
            }
        };
        if introduction.dialled {
            self.known.connected(introduction.address, key, now);
            self.known.dialled(introduction.address, now);
        }
        let show = self.first_show(now);
        let sees_all = show != crate::peer::session::Show::Nothing || self.reveal.is_none();
        let mut neighbour = Neighbour::new(introduction, sees_all, &self.geometry(), now);
        neighbour.guest = guest;
        self.neighbours.insert(key, neighbour);
        self.roster += 1;
        self.effects.push_back(Effect::Admit(key, show));
        if let Some(reveal) = &mut self.reveal {
            reveal.joined(key, self.neighbours[&key].introduction.id);
        }
        self.update_reveal(now);
    }

    fn may_join(&mut self, new: &Introduction, now: Time) -> Result<Place, &'static str> {
        if new.id == self.config.id {
            self.known.own(new.address);
            return Err("it is this member itself");
        }
        let ip = new.address.ip().to_canonical();
        if self.known.is_banned(ip, new.id, now) {
            return Err("it sent a wrong part");
        }
        if self.known.is_shut(ip, now) && !self.lacks_sources() {
            return Err("others from its address sent wrong parts of late");
        }
        if let Some((old, n)) = self.same_peer(new, now) {
            let old_dialled = n.introduction.dialled;
            // Both sides dialled at once: both keep the connection that the greater id opened. Later than that one of
            // them dialled unaware of whom it would meet, and both keep the old one, as aria2 does.
            let at_once = new.dialled != old_dialled && now < n.since + AT_ONCE;
            let keep_new = at_once && new.dialled == (self.config.id > new.id) || is_gone(n, new);
            if !keep_new {
                self.edit(old, |n| n.met_at(new.address.ip()));
                self.count_whole(old);
                if new.dialled {
                    self.known.connected(new.address, old, now);
                }
                return Err("it is connected already");
            }
            self.close(old, "it is connected twice", now);
        }
        self.make_room(new, now)
    }

    /// The connection that this new one is a second one of. A peer id alone does not tell, since everybody is told it: a
    /// stranger that connects first with another's id must not keep that one out. Two addresses of one kind are taken for
    /// two peers, and both stay. A peer usually has one address of each kind (IPv4 and IPv6, private and public), which
    /// therefore are taken for one, as long as the first connection is of use.
    fn same_peer(&self, new: &Introduction, now: Time) -> Option<(PeerKey, &Neighbour)> {
        let new_ip = new.address.ip().to_canonical();
        let lacks = !self.picker.is_satisfied();
        let is_same = |n: &Neighbour| {
            let ip = n.introduction.address.ip().to_canonical();
            let is_useless = || lacks && n.useful == 0 && now >= n.since + USEFUL_TIMEOUT;
            is_gone(n, new) || !are_alike(ip, new_ip) && !is_useless()
        };
        let of_this_id = || self.neighbours.iter().filter(|(_, n)| n.introduction.id == new.id);
        let at_same_address = of_this_id().find(|(_, n)| n.introduction.address.ip().to_canonical() == new_ip);
        at_same_address.or_else(|| of_this_id().find(|(_, n)| is_same(n))).map(|(key, n)| (*key, n))
    }

    /// Whether a part is missing that nobody has whom we know: then whoever comes may be the only one.
    fn lacks_sources(&self) -> bool {
        let gives_all = |n: &Neighbour| n.is_complete() && n.stall.is_none();
        self.picker.lacks_holders() && self.mirrors.count() == 0 && !self.neighbours.values().any(gives_all)
    }

    /// With all places taken, the lot decides who stays: whoever came first would else form a circle that later ones
    /// stand outside of, and a part takes long into a corner of the swarm. The lots are drawn with our own dice, so
    /// that nobody can choose an id that wins. Only those take part who share the address from which most came, the
    /// new one counted: a thousand ids at one address push each other out, and nobody else. Those that we dialled
    /// ourselves are never sent away for another: who knocks with a thousand ids cannot surround us. Complete ones stay
    /// while we need them, and go first when we do not. Who draws no place may know nobody else: a few of these stay for
    /// as long as it takes to tell them of others.
    fn make_room(&mut self, new: &Introduction, now: Time) -> Result<Place, &'static str> {
        let guests = self.neighbours.values().filter(|n| n.guest).count();
        if self.neighbours.len() - guests < self.config.max_peers {
            return Ok(Place::Seat);
        }
        let (lots, complete) = (self.lots, self.is_complete());
        let mut crowds: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let came = self.neighbours.values().filter(|n| !n.introduction.dialled).map(|n| &n.introduction);
        came.chain([new]).for_each(|i| *crowds.entry(i.address.ip().to_canonical()).or_default() += 1);
        let largest = crowds.values().max().copied();
        let crowded = |i: &Introduction| crowds.get(&i.address.ip().to_canonical()).copied() == largest;
        let others = self.neighbours.iter().filter(|(_, n)| {
            !n.introduction.dialled && !n.guest && crowded(&n.introduction) && (complete || !n.is_complete())
        });
        let lowest = others.map(|(key, n)| (!n.is_complete(), lot(lots, n.introduction.id), *key)).min();
        match lowest {
            Some((incomplete, lowest, key)) if !incomplete || !crowded(new) || lowest < lot(lots, new.id) => {
                self.close(key, "another drew the place", now);
                Ok(Place::Seat)
            }
            _ if guests < MOST_GUESTS && new.extended => Ok(Place::Guest),
            _ => Err("this member has enough connections"),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::{
        geometry::Geometry,
        peer::{Command, Event},
        swarm::{Config, Input},
        wire::bitfield::Bitfield,
    };

    fn swarm() -> Swarm {
        let geometry = Geometry::new(100, 1).unwrap();
        let have = Bitfield::none(&geometry);
        let id = PeerId([9; 20]);
        Swarm::new(Config { geometry, id, copy: None, have, checked: true, max_peers: 9, max_dialled: 9, seed: 1 })
    }

    /// The peer with the id 1 connects from `10.0.0.last`.
    fn comes(swarm: &mut Swarm, key: u32, last: u8, now: Time) -> Vec<Effect> {
        let address = SocketAddr::from(([10, 0, 0, last], 9998));
        let who = Introduction { id: PeerId([1; 20]), address, dialled: false, fast: true, extended: true };
        swarm.handle(Input::Introduced(PeerKey(key), who), now);
        std::iter::from_fn(|| swarm.next_effect()).collect()
    }

    /// Whether a new connection from `10.0.0.last` takes the place of one from `10.0.0.1` that is silent.
    fn replaces(silence: Silence, last: u8) -> bool {
        let mut swarm = swarm();
        comes(&mut swarm, 1, 1, Time::ZERO);
        swarm.handle(Input::Peer(PeerKey(1), Event::Silent(silence)), Time::from_secs(60));
        let effects = comes(&mut swarm, 2, last, Time::from_secs(60));
        let closed = effects.iter().any(|effect| matches!(effect, Effect::Tell(PeerKey(1), Command::Close(_))));
        let expected = closed || last != 1;
        assert_eq!(is_admitted(&effects, 2), expected, "one at each address, and never none");
        closed
    }

    fn is_admitted(effects: &[Effect], key: u32) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::Admit(k, _) if *k == PeerKey(key)))
    }

    #[test]
    fn who_comes_back_takes_the_place_of_its_silent_connection() {
        assert!(!replaces(Silence::Over, 1) && !replaces(Silence::Over, 2));
        assert!(replaces(Silence::Owing, 1) && replaces(Silence::Owing, 2));
        assert!(replaces(Silence::Overdue, 1) && replaces(Silence::Overdue, 2));
    }

    #[test]
    fn who_has_nothing_to_say_is_not_pushed_out_from_elsewhere() {
        assert!(replaces(Silence::Idle, 1));
        assert!(!replaces(Silence::Idle, 2));
    }

    /// The peer with the id 1 connects from `address`; whether it is admitted.
    fn joins(swarm: &mut Swarm, key: u32, address: &str, now: Time) -> bool {
        let address = address.parse().unwrap();
        let who = Introduction { id: PeerId([1; 20]), address, dialled: true, fast: true, extended: true };
        swarm.handle(Input::Introduced(PeerKey(key), who), now);
        let effects: Vec<_> = std::iter::from_fn(|| swarm.next_effect()).collect();
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Tell(_, Command::Close(_)))));
        is_admitted(&effects, key)
    }

    #[test]
    fn a_stolen_peer_id_does_not_keep_its_owner_out() {
        let mut swarm = swarm();
        let now = Time::from_secs(3);
        assert!(joins(&mut swarm, 1, "10.0.0.66:9998", Time::ZERO), "the thief comes first");
        assert!(joins(&mut swarm, 2, "10.0.0.1:9998", now), "the owner from another address");
        assert!(!joins(&mut swarm, 3, "10.0.0.66:9999", now) && !joins(&mut swarm, 4, "10.0.0.1:9999", now));
        swarm.handle(Input::Peer(PeerKey(1), Event::Closed(crate::peer::Closed::ByThem)), now);
        assert!(!joins(&mut swarm, 5, "10.0.0.1:9997", now), "the owner is connected still");
    }

    #[test]
    fn addresses_of_two_kinds_are_one_peer_while_the_first_connection_is_of_use() {
        for other in ["[fd00::1]:9998", "1.1.1.1:9998", "127.0.0.1:9998"] {
            let mut swarm = swarm();
            assert!(joins(&mut swarm, 1, "10.0.0.1:9998", Time::ZERO));
            assert!(!joins(&mut swarm, 2, other, Time::from_millis(9999)), "{other}");
            let part = swarm.geometry().part(0).unwrap();
            swarm.handle(Input::Peer(PeerKey(1), Event::Received { part, bytes: 1 }), Time::from_secs(9));
            assert!(!joins(&mut swarm, 3, other, Time::from_secs(10)), "{other}");
        }
        let mut swarm = swarm();
        assert!(joins(&mut swarm, 1, "[fd00::66]:9998", Time::ZERO));
        assert!(joins(&mut swarm, 2, "10.0.0.1:9998", Time::from_secs(10)), "a thief that gives nothing");
        // The peer found that it is one, and closed the second connection: it is not dialled again.
        swarm.handle(Input::Peer(PeerKey(2), Event::Closed(crate::peer::Closed::ByThem)), Time::from_secs(10));
        (100..300).for_each(|tenth| swarm.tick(Time::from_millis(100) * tenth));
        let dialled = std::iter::from_fn(|| swarm.next_effect()).any(|effect| matches!(effect, Effect::Dial(_)));
        assert!(!dialled);
    }

    /// Whether a member with the id `id` is let in that comes from the address of the others of this swarm.
    fn is_let_in(swarm: &mut Swarm, id: u8, now: Time) -> bool {
        let address = SocketAddr::from(([10, 0, 0, 7], 5000 + u16::from(id)));
        let who = Introduction { id: PeerId([id; 20]), address, dialled: false, fast: true, extended: true };
        let key = PeerKey(100 + u32::from(id));
        swarm.handle(Input::Introduced(key, who), now);
        std::iter::from_fn(|| swarm.next_effect()).any(|effect| matches!(effect, Effect::Admit(k, _) if k == key))
    }

    /// Poisoners come from one address, and each sends a wrong part.
    fn poisoned(swarm: &mut Swarm, ids: core::ops::Range<u8>, now: Time) {
        for id in ids {
            assert!(is_let_in(swarm, id, now));
            let part = swarm.geometry().part(0).unwrap();
            let key = PeerKey(100 + u32::from(id));
            swarm.handle(Input::Peer(key, Event::Wrong { part, alone: true }), now);
            while swarm.next_effect().is_some() {}
        }
    }

    #[test]
    fn an_honest_member_behind_the_address_of_poisoners_waits_for_a_moment() {
        let mut swarm = swarm();
        // Somebody else has everything.
        comes(&mut swarm, 1, 1, Time::ZERO);
        swarm.handle(Input::Peer(PeerKey(1), Event::HasAll), Time::ZERO);
        poisoned(&mut swarm, 10..13, Time::ZERO);
        assert!(!is_let_in(&mut swarm, 50, Time::from_millis(1999)));
        assert!(!is_let_in(&mut swarm, 10, Time::from_secs(2)), "who did it stays out");
        assert!(is_let_in(&mut swarm, 50, Time::from_secs(2)));
    }

    #[test]
    fn an_honest_member_that_alone_has_the_parts_is_let_in_at_once() {
        let mut swarm = swarm();
        poisoned(&mut swarm, 10..20, Time::ZERO);
        assert!(is_let_in(&mut swarm, 50, Time::ZERO));
        assert!(!is_let_in(&mut swarm, 10, Time::ZERO));
    }

    #[test]
    fn what_is_said_again_adds_to_what_was_said() {
        let mut swarm = swarm();
        let geometry = swarm.geometry();
        let holders =
            |swarm: &Swarm| geometry.all_parts().map(|part| u32::from(swarm.picker.holders(part))).sum::<u32>();
        comes(&mut swarm, 1, 1, Time::ZERO);
        let mut says = |parts: core::ops::Range<usize>| {
            let mut bits = Bitfield::none(&geometry);
            geometry.all_parts().skip(parts.start).take(parts.len()).for_each(|part| _ = bits.insert(part));
            swarm.handle(Input::Peer(PeerKey(1), Event::HasThese(bits)), Time::ZERO);
            holders(&swarm)
        };
        let counts = [0..40, 30..60, 0..10, 20..60].map(&mut says);
        assert_eq!(counts, [40, 60, 60, 60]);
        assert_eq!(says(0..100), 0, "a complete one says nothing of how rare a part is");
        swarm.handle(Input::Peer(PeerKey(1), Event::Closed(crate::peer::Closed::ByThem)), Time::ZERO);
        assert_eq!(holders(&swarm), 0);
    }

    /// What neighbours are told to fetch or to give back after these events.
    fn orders(swarm: &mut Swarm, events: &[(u32, Event)], now: Time) -> Vec<(u32, Command)> {
        for (key, event) in events {
            swarm.handle(Input::Peer(PeerKey(*key), event.clone()), now);
        }
        let effects = std::iter::from_fn(|| swarm.next_effect());
        let orders = effects.filter_map(|effect| match effect {
            Effect::Tell(key, command @ (Command::Fetch(_) | Command::Release(_))) => Some((key.0, command)),
            _ => None,
        });
        orders.collect()
    }

    #[test]
    fn what_was_asked_of_one_that_should_have_spoken_is_asked_of_another() {
        let mut swarm = swarm();
        comes(&mut swarm, 1, 1, Time::ZERO);
        let whole = |key| [(key, Event::HasAll), (key, Event::Choked(false))];
        let asked = orders(&mut swarm, &whole(1), Time::ZERO);
        assert!(!asked.is_empty() && asked.iter().all(|(key, _)| *key == 1));
        let now = Time::from_secs(8);
        let silent = orders(&mut swarm, &[(1, Event::Silent(Silence::Overdue))], now);
        let part_of = |command: &Command| match command {
            Command::Fetch(part) | Command::Release(part) => *part,
            other => panic!("{other:?}"),
        };
        let parts: Vec<_> = silent.iter().map(|(_, command)| part_of(command)).collect();
        assert_eq!(parts, asked.iter().map(|(_, command)| part_of(command)).collect::<Vec<_>>());
        assert!(silent.iter().all(|(key, command)| *key == 1 && matches!(command, Command::Release(_))));
        let freed: Vec<_> = parts.iter().map(|part| (1, Event::Released { part: *part, refused: false })).collect();
        assert_eq!(orders(&mut swarm, &freed, now), [], "nothing is asked of it");
        let address = SocketAddr::from(([10, 0, 0, 2], 9998));
        let other = Introduction { id: PeerId([2; 20]), address, dialled: false, fast: true, extended: true };
        swarm.handle(Input::Introduced(PeerKey(2), other), now);
        let elsewhere = orders(&mut swarm, &whole(2), now);
        assert!(parts.iter().all(|part| elsewhere.contains(&(2, Command::Fetch(*part)))));
        (80..200).for_each(|tenth| swarm.tick(Time::from_millis(100) * tenth));
        assert!(orders(&mut swarm, &[], now).iter().all(|(key, _)| *key == 2), "not while it is silent");
    }
}
