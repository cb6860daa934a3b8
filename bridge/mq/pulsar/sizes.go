package pulsar

// How the size of messages is judged. The peak falls by 1/slowness of itself with each smaller message.
const (
	firstGuess = 64 << 10
	slowness   = 64
	narrowBy   = 4    // open anew when so many times as many messages could be allowed as are
	narrowFor  = 1000 // but not before so many have been read
)

// sizes keeps the bound in bytes of what the library reads ahead, which it bounds by number only.
type sizes struct {
	maxMessages, maxBytes int
	peak                  int // of recent messages, in bytes
	queue                 int // how many messages the library may hold at present
	seen                  int // since the library was told so
}

func newSizes(cfg Config) sizes {
	return sizes{maxMessages: max(cfg.PrefetchMessages/2, 1), maxBytes: cfg.PrefetchBytes / 2, peak: firstGuess}
}

// allowed is how many messages fit into the bound.
func (s *sizes) allowed() int { return min(max(s.maxBytes/s.peak, 1), s.maxMessages) }

// begin says how many messages the library may hold from now on.
func (s *sizes) begin() int {
	s.queue, s.seen = s.allowed(), 0
	return s.queue
}

// saw counts a message.
func (s *sizes) saw(bytes int) {
	s.peak = max(bytes, s.peak-s.peak/slowness, overhead)
	s.seen++
}

// crowded reports that the library may be holding more bytes than it should.
func (s *sizes) crowded() bool { return s.queue > s.allowed() }

// narrow reports that the library could well hold more messages.
func (s *sizes) narrow() bool { return s.seen >= narrowFor && s.allowed() >= narrowBy*s.queue }
