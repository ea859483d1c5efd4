#pragma once

#include <expected>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "io/listen_socket.hh"

namespace dh::io {

/// A new file in a directory that the caller holds open, under a name that nobody guesses and that nothing
/// left by a killed process has: for content that takes another file's place once it is whole. Unless it was
/// moved, it is removed at the end. A resource of one thread. Errors: errno.
class TemporaryFile {
public:
  /// Called `stem` and sixteen hex digits.
  static std::expected<TemporaryFile, int> create(int directory, std::string_view stem, mode_t mode);
  TemporaryFile(TemporaryFile&& other) noexcept;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile();

  std::expected<void, int> write(std::string_view text);
  const Fd& fd() const { return fd_; }
  const std::string& name() const { return name_; }
  /// It has another name now, and stays.
  void moved() { name_.clear(); }

private:
  TemporaryFile(int directory, std::string name, Fd fd);

  int directory_;
  std::string name_;  // empty: not ours any more
  Fd fd_;
};

}  // namespace dh::io
