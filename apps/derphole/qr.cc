#include "qr.hh"

#include <memory>
#include <qrencode.h>

namespace dh::app {
namespace {

constexpr int kQuiet = 2;  // modules around it; the standard's four, of which terminals' margins are the rest

struct CodeDeleter {
  void operator()(QRcode* code) const { QRcode_free(code); }
};

}  // namespace

std::string qr_text(std::string_view text) {
  const std::unique_ptr<QRcode, CodeDeleter> code(QRcode_encodeData(
      static_cast<int>(text.size()), reinterpret_cast<const unsigned char*>(text.data()), 0, QR_ECLEVEL_L));
  if (!code) return {};
  const int width = code->width;
  const auto is_light = [&](int x, int y) {
    const bool inside = x >= 0 && y >= 0 && x < width && y < width;
    return !inside || (code->data[y * width + x] & 1) == 0;
  };
  std::string out;
  for (int y = -kQuiet; y < width + kQuiet; y += 2) {
    for (int x = -kQuiet; x < width + kQuiet; ++x) {
      const bool above = is_light(x, y), below = is_light(x, y + 1);
      out += above && below ? "█" : above ? "▀" : below ? "▄" : " ";
    }
    out += '\n';
  }
  return out;
}

}  // namespace dh::app
