"""Fetches or shares one torrent with libtorrent: says where it listens, when it is whole and what trackers answer.
Runs until it is ended, or with --fetch until it is whole (and with --scrape has an answer to that too)."""
import argparse
import libtorrent as lt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("source", help="the path of a .torrent, or a magnet link")
parser.add_argument("folder")
parser.add_argument("--listen", default="127.0.0.1:0")
parser.add_argument("--near", action="store_true", help="look for members on the local network")
parser.add_argument("--dht", metavar="NODE", help="look for members in the DHT that begins there, and nowhere else")
parser.add_argument("--fetch", action="store_true")
parser.add_argument("--scrape", action="store_true")
given = parser.parse_args()

session = lt.session({"listen_interfaces": given.listen, "enable_lsd": given.near, "enable_dht": given.dht is not None,
    "dht_bootstrap_nodes": given.dht or "", "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False,
    "enable_upnp": False, "enable_natpmp": False, "allow_multiple_connections_per_ip": True, "min_announce_interval": 1,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification
        | lt.alert.category_t.tracker_notification | lt.alert.category_t.error_notification})
print("listens %s:%d" % (given.listen.rpartition(":")[0], session.listen_port()), flush=True)
if given.source.startswith("magnet:"):
    parameters = lt.parse_magnet_uri(given.source)
else:
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(given.source)
if given.dht:
    parameters.trackers = []
parameters.save_path = given.folder
torrent = session.add_torrent(parameters)
if given.scrape:
    torrent.scrape_tracker()
told, asked = False, given.scrape
while not (given.fetch and told and not asked):
    session.wait_for_alert(100)
    for alert in session.pop_alerts():
        if isinstance(alert, (lt.tracker_error_alert, lt.scrape_failed_alert, lt.tracker_warning_alert)):
            print("wrong:", alert.message(), flush=True)
        if isinstance(alert, lt.scrape_reply_alert):
            print("scraped", alert.complete, alert.incomplete, flush=True)
            asked = False
    if not told and torrent.status().is_seeding:
        told = True
        torrent.flush_cache()
        if given.dht:
            torrent.force_dht_announce()
        print("whole", flush=True)
