// Manifests from strangers: what is taken obeys the rules, and writing it again gives the same bytes.

#include <cstdlib>

#include "transfer/manifest.hh"
#include "transfer/name_rules.hh"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace dh;
  using namespace dh::transfer;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  fold_name(as_text(input));
  normal_name(as_text(input));
  Manifest manifest;
  if (!manifest.parse(input)) return 0;
  for (std::uint32_t i = 0; i < manifest.size(); ++i) {
    const Entry& entry = manifest[i];
    if (!check_component(manifest.name(i)) || entry.mode > 0777 || manifest.chain(i).size() > kMaxDepth)
      std::abort();
    if (entry.parent != kTop && (entry.parent >= i || manifest[entry.parent].kind != EntryKind::Directory))
      std::abort();
    if (entry.kind == EntryKind::Symlink && !check_link_target(manifest.target(i), entry.depth)) std::abort();
  }
  (void)check_names(manifest, {.allow_hidden = true, .destination_folds = true});
  Bytes again;
  if (manifest.serialize(0, SIZE_MAX / 2, again) != manifest.size() || !equal_bytes(again, input))
    std::abort();
  return 0;
}
