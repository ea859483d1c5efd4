#pragma once

// What commands with a one-time token share: relays for it, the two ends of its session, words for bad ones.

#include <memory>
#include <string>
#include <vector>

#include "io/self_relay.hh"
#include "session_command.hh"

namespace dh::app {

struct ChosenRelays {
  std::vector<session::RelayRef> relays;
  std::unique_ptr<io::SelfRelay> own;  // hosted in this process: always the last entry of `relays`
};
/// Errors: CommandError.
ChosenRelays choose_relays(SessionCommand& command, const CommonOptions& common);

/// Fills in the listener's side, with a new token for one session of `capability`. Direction and the end of
/// the stream are the caller's.
void prepare_listener(SessionCommand& command, const ChosenRelays& chosen, session::Capability capability,
                      io::SessionDriverOptions& driver);
/// `14:05`
std::string local_time(UnixSeconds when);

/// Errors: CommandError(BadToken), in words for somebody who typed or copied it.
session::Token parse_one_shot(const std::string& text, session::Capability wanted);
/// Fills in the dialer's side.
void prepare_dialer(SessionCommand& command, const CommonOptions& common, session::Token token,
                    session::Capability capability, io::SessionDriverOptions& driver);

/// The sending end of the stream, on either side: what --cc, --polite, --limit-rate and --lanes say.
void prepare_sender(const CommonOptions& common, session::SessionConfig& session);

}  // namespace dh::app
