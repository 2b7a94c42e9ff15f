//! Says whether a file is what its manifest says, part by part:
//! `cargo run --example verify -- examples/overture.orch examples/overture.png`

use std::{
    env,
    error::Error,
    fs::{self, File},
    ops::ControlFlow,
};

use orchestra::{hashing::file::hash_file, manifest::Manifest};

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = env::args_os().skip(1);
    let (Some(orch), Some(file)) = (paths.next(), paths.next()) else {
        return Err("name both: verify FILE.orch FILE".into());
    };
    let manifest = Manifest::parse(&fs::read(orch)?)?;
    let mut right = 0;
    let whole = hash_file(&File::open(file)?, &manifest.geometry, true, &mut |part, digest| {
        if digest == manifest.parts[part.as_usize()] {
            right += 1;
        } else {
            println!("part {} is different", part.get() + 1);
        }
        ControlFlow::Continue(())
    })?;
    println!("{right} of {} parts are right", manifest.geometry.parts());
    if whole != manifest.whole {
        return Err("the whole file's SHA-1 is different".into());
    }
    println!("the whole file is right");
    Ok(())
}
