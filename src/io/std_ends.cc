#include "io/std_ends.hh"

#include <fcntl.h>

#include "io/cached_file.hh"
#include "io/file_pump.hh"
#include "io/pipe_ends.hh"

namespace dh::io {

SourceMaker input(boost::asio::any_io_executor executor, int fd) {
  return [executor, fd](PumpNotify notify) -> std::unique_ptr<StreamSource> {
    if (Fd pipe = reopen_pipe(fd, O_RDONLY))
      return std::make_unique<PipeSource>(executor, std::move(pipe), std::move(notify));
    if (is_regular(fd)) return std::make_unique<CachedFileSource>(fd, std::move(notify));
    return std::make_unique<FileSource>(fd, std::move(notify));
  };
}

SinkMaker output(boost::asio::any_io_executor executor, int fd) {
  return [executor, fd](PumpNotify notify) -> std::unique_ptr<StreamSink> {
    if (Fd pipe = reopen_pipe(fd, O_WRONLY))
      return std::make_unique<PipeSink>(executor, std::move(pipe), std::move(notify));
    return std::make_unique<FileSink>(fd, std::move(notify));
  };
}

}  // namespace dh::io
