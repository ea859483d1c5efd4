#include "tunnel/codes.hh"

namespace dh::tunnel {

std::string_view describe(std::uint64_t code) {
  switch (static_cast<StreamCode>(code)) {
    case StreamCode::Reset:
      return "the connection was reset";
    case StreamCode::TargetRefused:
      return "nobody listens at the shared address";
    case StreamCode::TargetUnreachable:
      return "the shared address cannot be reached from there";
    case StreamCode::TargetSilent:
      return "the shared address did not answer in time";
    case StreamCode::NoResources:
      return "the other side has too many open connections";
    case StreamCode::UnknownForward:
      return "the other side does not share that";
    case StreamCode::BadHeader:
      return "the other side did not understand us";
  }
  return "the other side gave an unknown reason";
}

}  // namespace dh::tunnel
