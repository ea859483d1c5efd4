#pragma once

#include <stdexcept>
#include <string>

namespace dh::app {

/// Exit statuses, the contract with scripts. See `derphole help` and README.
enum class Exit : int {
  Ok = 0,
  Failure = 1,
  Usage = 2,
  Refused = 3,      // a person or the peer said no
  PeerAbsent = 4,   // never came, or gone for good
  BadToken = 5,     // wrong, expired, used, or of another kind
  Integrity = 6,    // what arrived is not what was sent
  LocalFile = 7,    // exists, full, permission
  NetworkLost = 8,  // can be resumed
  Interrupted = 130,
};

/// Ends the command with one sentence for the person. Thrown by commands, caught once in main.
class CommandError : public std::runtime_error {
public:
  CommandError(Exit status, const std::string& sentence) : std::runtime_error(sentence), status_(status) {}
  Exit status() const { return status_; }

private:
  Exit status_;
};

}  // namespace dh::app
