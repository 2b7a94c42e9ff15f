//! The BitTorrent clients that people already run, driven as their users do: with their own defaults, except that they
//! look for members in one way alone: through our conductor, or on the local network.

use std::{
    ffi::OsStr,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{Place, Program, skip, tool};

const LIBTORRENT: &str = include_str!("libtorrent.py");

/// libtorrent, with the options of `libtorrent.py`.
pub fn libtorrent(place: &Place, source: &OsStr, folder: &Path, options: &[&str]) -> Command {
    let mut command = place.command("python3");
    command.args(["-c", LIBTORRENT]).arg(source).arg(folder).args(options);
    command
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Aria2,
    Libtorrent,
    Rqbit,
    Transmission,
}

impl Client {
    pub const ALL: [Self; 4] = [Self::Aria2, Self::Libtorrent, Self::Rqbit, Self::Transmission];

    /// Whether it is installed; says so when not, and fails where CI promises it.
    pub fn is_there(self) -> bool {
        match self {
            Self::Aria2 => tool("aria2c", Command::new("aria2c").arg("--version")),
            Self::Libtorrent => {
                tool("python3 with libtorrent", Command::new("python3").args(["-c", "import libtorrent"]))
            }
            Self::Transmission => tool("transmission-cli", Command::new("transmission-cli").arg("--version")),
            Self::Rqbit => {
                // No package has it, and building it takes longer than all tests: CI promises it to nobody.
                let mut probe = Command::new("rqbit");
                let probe = probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
                let there = probe.status().is_ok_and(|status| status.success());
                if !there {
                    skip("rqbit is not installed (cargo install rqbit)");
                }
                there
            }
        }
    }

    /// Fetches or shares what `source` names (the path of a `.torrent`, or a magnet link) in this folder, until it is
    /// dropped. Only rqbit is reached at an address that it chooses itself: it dials from 127.0.0.1 wherever it listens.
    pub fn start(self, place: &Place, ip: IpAddr, folder: &Path, source: &OsStr) -> Program {
        Program::start(self.command(place, Some(ip), folder, source))
    }

    /// The same at every address, looking for members on the local network alone; to be run on a host of a lab.
    pub fn near(self, place: &Place, folder: &Path, source: &OsStr) -> Command {
        self.command(place, None, folder, source)
    }

    fn command(self, place: &Place, ip: Option<IpAddr>, folder: &Path, source: &OsStr) -> Command {
        fs::create_dir_all(folder).expect("a folder");
        match self {
            Self::Aria2 => aria2(place, ip, folder, source),
            Self::Libtorrent => match ip {
                Some(ip) => libtorrent(place, source, folder, &["--listen", &SocketAddr::new(ip, 0).to_string()]),
                None => libtorrent(place, source, folder, &["--listen", "0.0.0.0:6881,[::]:6881", "--near"]),
            },
            Self::Rqbit => rqbit(place, ip, folder, source),
            Self::Transmission => transmission(place, ip, folder, source),
        }
    }
}

fn aria2(place: &Place, ip: Option<IpAddr>, folder: &Path, source: &OsStr) -> Command {
    let mut command = place.command("aria2c");
    command.args(["--no-conf", "--enable-dht=false", "--file-allocation=none"]);
    command.arg(format!("--bt-enable-lpd={}", ip.is_none()));
    command.args(["--listen-port=20000-60000", "--check-integrity=true", "--seed-ratio=0.0"]);
    command.arg("--show-console-readout=false").args(ip.map(|ip| format!("--interface={ip}")));
    command.arg("-d").arg(folder).arg(source);
    command
}

fn rqbit(place: &Place, ip: Option<IpAddr>, folder: &Path, source: &OsStr) -> Command {
    let mut command = place.command("rqbit");
    command.args(["-v", "error", "--disable-dht", "--disable-upnp-port-forward"]);
    if let Some(ip) = ip {
        let ip = if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { ip };
        let port = free_port(ip).to_string();
        // Without the last it says that it is at 4240.
        command.args([
            "--disable-lsd",
            "--listen-ip",
            &ip.to_string(),
            "--listen-port",
            &port,
            "--announce-port",
            &port,
        ]);
    }
    command.args(["download", "--disable-http-api", "--overwrite", "-o"]).arg(folder).arg(source);
    command.env("HOME", place.path(""));
    command
}

fn transmission(place: &Place, ip: Option<IpAddr>, folder: &Path, source: &OsStr) -> Command {
    let settings = folder.with_extension("transmission");
    fs::create_dir_all(&settings).expect("a folder");
    let (v4, v6) = match ip {
        None => (Ipv4Addr::UNSPECIFIED.to_string(), "::".to_owned()),
        Some(IpAddr::V4(ip)) => (ip.to_string(), "::1".to_owned()),
        // Its announces would leave from another IPv4 address.
        Some(IpAddr::V6(ip)) => (Ipv4Addr::UNSPECIFIED.to_string(), ip.to_string()),
    };
    let text = serde_json::json!({
        "bind-address-ipv4": v4,
        "bind-address-ipv6": v6,
        "dht-enabled": false,
        "lpd-enabled": ip.is_none(),
        "port-forwarding-enabled": false,
        "peer-port": ip.map_or(51413, free_port),
    });
    fs::write(settings.join("settings.json"), text.to_string()).expect("written");
    let mut command = place.command("transmission-cli");
    command.arg("-g").arg(&settings).arg("-w").arg(folder).arg(source);
    command
}

/// For those that take no 0 (rqbit), or choose alike when they are started in the same second (Transmission).
fn free_port(ip: IpAddr) -> u16 {
    TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
