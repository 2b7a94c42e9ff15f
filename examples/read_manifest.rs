//! Reads a manifest and says what the composition is:
//! `cargo run --example read_manifest -- examples/overture.orch`

use std::{env, error::Error, fs};

use orchestra::{manifest::Manifest, metainfo::convert};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("name a manifest: read_manifest FILE.orch")?;
    let manifest = Manifest::parse(&fs::read(path)?)?;
    let geometry = &manifest.geometry;
    println!("name       {}", manifest.name.shown());
    println!("size       {} bytes in {} parts of {}", geometry.size(), geometry.parts(), geometry.part_size());
    println!("conductor  {}", manifest.conductor);
    println!("info-hash  {}", manifest.info_hash());
    println!("magnet     {}", convert::to_magnet(&manifest)?);
    Ok(())
}
