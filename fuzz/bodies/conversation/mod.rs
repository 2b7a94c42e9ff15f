//! Sequences of messages against live sessions and the swarm that owns them, in virtual time.
//!
//! The bytes choose what happens next: who joins or leaves, what is said (well-formed or not), how much of a block
//! comes and whether it is right, what time it is, what the socket takes, when an event or a command gets through.
//! Everything that our side says and does is checked against what was said and done before.

mod conn;
mod disk;
mod said;
mod source;
mod world;

use source::Source;
use world::World;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut world = World::new(&mut source);
    while !source.is_empty() {
        world.step(&mut source);
        world.settle();
    }
    world.end();
}
