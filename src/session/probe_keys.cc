#include "session/probe_keys.hh"

#include <cstring>

namespace dh::session {
namespace {

constexpr std::string_view kFromDialer = "probe i->r";
constexpr std::string_view kFromListener = "probe r->i";

Secret<32> probe_key(const SessionKeys& keys, std::string_view label) {
  const Secret<64> exported = export_key(keys, label);
  Secret<32> key;
  std::memcpy(key.uchar(), exported.uchar(), 32);
  return key;
}

}  // namespace

path::ProbeKeys probe_keys(const SessionKeys& keys, const PublicKey& dialer, const PublicKey& listener) {
  path::ProbeKeys probes;
  probes.send = probe_key(keys, keys.initiator ? kFromDialer : kFromListener);
  probes.receive = probe_key(keys, keys.initiator ? kFromListener : kFromDialer);
  probes.local_index = keys.local_index;
  probes.peer_index = keys.peer_index;
  probes.dialer = dialer;
  probes.listener = listener;
  return probes;
}

}  // namespace dh::session
