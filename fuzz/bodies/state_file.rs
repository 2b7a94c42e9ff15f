//! `NAME.part.state`, which may have come with a download.

use orchestra::{
    geometry::Geometry,
    storage::{
        note::{open_seal, seal},
        state::State,
    },
};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(body) = open_seal(text) {
        assert_eq!(open_seal(&seal(body)), Some(body));
        state(body);
    }
    // Few bytes find their way through the seal.
    state(text);
}

fn state(body: &str) {
    let Some(state) = State::parse(body) else {
        return;
    };
    assert_eq!(State::parse(&state.render()).as_ref(), Some(&state));
    let most = state.parts.len() as u64 * 8;
    for parts in most.saturating_sub(8)..=most + 1 {
        if let Ok(geometry) = Geometry::new(parts, 1)
            && let Some(have) = state.proves(state.info_hash, &state.stamp, &geometry)
        {
            assert_eq!(have.to_bytes(), state.parts);
        }
    }
}
