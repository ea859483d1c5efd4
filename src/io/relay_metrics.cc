#include "io/relay_metrics.hh"

#include <fmt/format.h>

namespace dh::io {
namespace {

struct Page {
  std::string text;

  void add(const char* type, const char* name, const char* help, std::uint64_t value) {
    family(type, name, help);
    fmt::format_to(std::back_inserter(text), "{} {}\n", name, value);
  }
  void family(const char* type, const char* name, const char* help) {
    fmt::format_to(std::back_inserter(text), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  void labelled(const char* name, const char* label, const char* label_value, std::uint64_t value) {
    fmt::format_to(std::back_inserter(text), "{}{{{}=\"{}\"}} {}\n", name, label, label_value, value);
  }
};

}  // namespace

std::string relay_metrics_page(const derp::ServerCounters& core, const ShellCounters& shell) {
  Page page;
  page.add("counter", "derp_accepts_total", "DERP connections begun (after the HTTP upgrade)", core.accepts);
  page.add("counter", "derp_logins_total", "DERP logins completed", core.logins);
  page.add("gauge", "derp_current_connections", "DERP connections open", core.current_connections);
  page.add("counter", "derp_packets_received_total", "packets taken from clients", core.packets_received);
  page.add("counter", "derp_packets_sent_total", "packets handed to clients", core.packets_sent);
  page.add("counter", "derp_bytes_received_total", "packet bytes taken from clients", core.bytes_received);
  page.add("counter", "derp_bytes_sent_total", "packet bytes handed to clients", core.bytes_sent);
  page.add("counter", "derp_disco_received_total", "packets that look like disco messages",
           core.disco_received);
  page.family("counter", "derp_packets_dropped_total", "packets thrown away, by reason");
  page.labelled("derp_packets_dropped_total", "reason", "unknown_dest", core.dropped_unknown_dest);
  page.labelled("derp_packets_dropped_total", "reason", "queue_head", core.dropped_queue_head);
  page.labelled("derp_packets_dropped_total", "reason", "gone_disconnected", core.dropped_gone);
  page.labelled("derp_packets_dropped_total", "reason", "dup_client", core.dropped_dup_client);
  page.add("counter", "derp_pings_total", "pings from clients", core.pings);
  page.add("counter", "derp_pongs_total", "pongs sent", core.pongs);
  page.family("counter", "derp_peer_gone_total", "PeerGone frames sent, by reason");
  page.labelled("derp_peer_gone_total", "reason", "disconnected", core.peer_gone_disconnected);
  page.labelled("derp_peer_gone_total", "reason", "not_here", core.peer_gone_not_here);
  page.add("counter", "derp_duplicate_keys_total", "logins with a key that was already connected",
           core.duplicate_keys);
  page.add("counter", "derp_forwarded_in_total", "packets from mesh peers", core.forwarded_in);
  page.add("counter", "derp_write_timeouts_total", "clients cut off for not reading", core.write_timeouts);
  page.add("counter", "derp_unknown_frames_total", "frames of unknown type, skipped", core.unknown_frames);
  page.add("counter", "derp_rate_pauses_total", "times a client was made to wait by the receive limit",
           core.rate_pauses);

  page.add("gauge", "relay_tcp_connections", "TCP connections open, whatever they speak", shell.current_tcp);
  page.add("counter", "relay_tcp_accepted_total", "TCP connections accepted", shell.tcp_accepted);
  page.family("counter", "relay_tcp_refused_total", "TCP connections closed at once, by exhausted limit");
  page.labelled("relay_tcp_refused_total", "limit", "total", shell.refused_total_cap);
  page.labelled("relay_tcp_refused_total", "limit", "address", shell.refused_address_cap);
  page.add("counter", "relay_accept_pauses_total", "pauses for lack of file descriptors",
           shell.accept_pauses);
  page.add("counter", "relay_header_timeouts_total", "connections without a request head in time",
           shell.header_timeouts);
  page.add("counter", "relay_bad_requests_total", "request heads refused", shell.bad_requests);
  page.add("counter", "relay_tls_failures_total", "TLS handshake and record errors", shell.tls_failures);
  page.add("counter", "relay_http_requests_total", "request heads read", shell.http_requests);
  page.add("counter", "relay_fast_starts_total", "upgrades without a 101", shell.fast_starts);
  page.add("counter", "relay_websockets_total", "WebSocket upgrades", shell.websockets);
  page.add("counter", "relay_websocket_errors_total", "WebSocket connections closed for a violation",
           shell.websocket_errors);
  page.add("counter", "relay_write_errors_total", "sockets that failed while writing", shell.write_errors);
  page.add("counter", "relay_stun_requests_total", "STUN requests answered", shell.stun_requests);
  page.add("counter", "relay_stun_dropped_total", "datagrams on the STUN ports not answered",
           shell.stun_dropped);
  return std::move(page.text);
}

}  // namespace dh::io
