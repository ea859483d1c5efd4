add_library(derphole_flags INTERFACE)
target_compile_options(derphole_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wformat=2 -Wconversion
  -Wno-sign-conversion -Werror=format-security -fno-strict-aliasing)
target_compile_definitions(derphole_flags INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE
  BOOST_BEAST_USE_STD_STRING_VIEW)

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12 hides std::expected behind a newer value of __cpp_concepts than clang 14 has, and rightly so: clang takes
  # the first of two constrained destructors (P0848 came with clang 16), which for anything that owns memory is the deleted
  # one. Fuzzers and clang-tidy see a copy of that one header with one unconstrained destructor and without the guard.
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -x c++ -std=c++20 -E -include expected /dev/null
    OUTPUT_VARIABLE preprocessed ERROR_QUIET)
  string(REGEX MATCH "\"([^\"\n]*/expected)\"" found "${preprocessed}")
  file(READ "${CMAKE_MATCH_1}" header)
  string(REPLACE "&& __cpp_concepts >= 202002L" "" header "${header}")
  string(REPLACE "constexpr ~expected() = default;" "" header "${header}")
  string(REGEX REPLACE "(constexpr ~expected\\(\\))[^{]*{" "\\1 {" header "${header}")
  file(WRITE ${CMAKE_BINARY_DIR}/std/expected "${header}")
  target_include_directories(derphole_flags SYSTEM BEFORE INTERFACE ${CMAKE_BINARY_DIR}/std)
else()
  # g++ 12 sees ghosts in optimised std::vector and coroutine frames.
  target_compile_options(derphole_flags INTERFACE -fcoroutines -Wno-maybe-uninitialized -Wno-stringop-overflow
    -Wno-array-bounds -Wno-restrict -Wno-dangling-pointer -Wno-stringop-overread
    -Wno-mismatched-new-delete)
endif()

if(DERPHOLE_HARDEN)
  target_compile_options(derphole_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS
    -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero
    -fzero-call-used-regs=used-gpr -fPIE)
  target_link_options(derphole_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  set(CMAKE_CXX_FLAGS_RELEASE "-O2")
endif()

if(DERPHOLE_SANITIZE)
  string(REPLACE "," "$<SEMICOLON>" sanitizer_list "${DERPHOLE_SANITIZE}")
  target_compile_options(derphole_flags INTERFACE -fsanitize=${DERPHOLE_SANITIZE} -fno-sanitize-recover=all
    # Asio's templates with a check at every access through a pointer take half as long again to compile; AddressSanitizer
    # finds what these four would.
    $<$<AND:$<BOOL:$<TARGET_PROPERTY:DERPHOLE_ASIO>>,$<IN_LIST:undefined,${sanitizer_list}>>:-fno-sanitize=null,alignment,object-size,vptr>
    # Tests are mostly checks run once: not worth optimising. Line numbers are enough for a report.
    -fno-omit-frame-pointer $<IF:$<BOOL:$<TARGET_PROPERTY:DERPHOLE_TEST>>,-O0,-O1> -g1)
  target_link_options(derphole_flags INTERFACE -fsanitize=${DERPHOLE_SANITIZE})
endif()
if(DERPHOLE_FUZZ)
  target_compile_options(derphole_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(derphole_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
