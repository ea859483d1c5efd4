#include "path_words.hh"

namespace dh::app {

using wire::MappingBehaviour;

namespace {

bool is_hard(MappingBehaviour mapping) {
  return mapping == MappingBehaviour::Random || mapping == MappingBehaviour::Sequential;
}

}  // namespace

std::string words_for(const path::Obstacle& obstacle) {
  if (obstacle.no_socket) return "this machine has no network address that could be reached directly";
  if (obstacle.stun_silent) return "UDP seems to be blocked on this network";
  if (obstacle.stalls)
    return "the direct way answers, but data gets lost there; perhaps a link on it is too narrow for full "
           "packets (MTU)";
  if (is_hard(obstacle.ours) && is_hard(obstacle.peers))
    return "the routers of both sides change ports for every destination; a port mapping on one of them "
           "(UPnP, NAT-PMP, PCP) would help";
  if (obstacle.peer_has_none)
    return "the other side could not find an address of its own; UDP may be blocked there";
  if (is_hard(obstacle.ours))
    return "this network's router changes ports for every destination, and the other side's firewall is "
           "strict";
  if (is_hard(obstacle.peers))
    return "the other side's router changes ports for every destination, and the firewall here is strict";
  return "no packet gets through between the two networks; a firewall may drop UDP between strangers";
}

std::string_view badge_for(const path::Route& route) {
  return route.tier == path::Tier::Lan ? "lan" : "direct";
}

}  // namespace dh::app
