/* mock_upstream: tiny epoll upstream of three wires (one thread, HTTP/1.1 keep-alive).
 *   mock_upstream PORT [first_ms [gap_ms [chunks [content_len]]]]
 * The path says which wire a stream has: Anthropic Messages, Gemini, or else OpenAI Chat; each sends `chunks` + 2 events,
 * chunked transfer. A body without "stream":true (or "stream": true) to OpenAI Chat -> one ~700 byte JSON completion
 * with usage. first_ms: delay before the first byte. gap_ms: delay between events (0 = every event is its own HTTP chunk
 * but they are written back-to-back in one send buffer).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wires.h"

#define MAXFD 65536
typedef struct conn {
    int fd;
    char *in;
    size_t inlen, incap;
    char *out;
    size_t outlen, outoff, outcap;
    size_t need;            /* total bytes of current request, 0 = header not complete yet */
    int streaming, next_ev; /* next event index while a paced stream is in progress */
    int pending;            /* a response is scheduled (first_ms) */
    struct wire *wire;
    uint32_t gen;
} conn;
static conn *C[MAXFD];
static int ep, first_ms, gap_ms, nchunks = 100, content_len = 0;
static char *json_resp;
static size_t json_len;
static const char *sse_head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nx-request-id: "
    "req_0123456789abcdef\r\nopenai-processing-ms: 12\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n";
struct wire {
    const char *mark;                       /* in the request line */
    void (*event)(char *out, int i, int n); /* the i-th of n events */
    char **ev, *fire;                       /* each as an HTTP chunk; head and all of them */
    size_t *evl, firelen;
};

/* timer heap */
typedef struct {
    int64_t t;
    int fd;
    uint32_t gen;
} tm_;
static tm_ *H;
static int hn, hcap;
static int64_t now_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}
static void hpush(tm_ x) {
    if (hn == hcap) {
        hcap = hcap ? hcap * 2 : 1024;
        H = realloc(H, hcap * sizeof *H);
    }
    int i = hn++;
    while (i) {
        int p = (i - 1) / 2;
        if (H[p].t <= x.t)
            break;
        H[i] = H[p];
        i = p;
    }
    H[i] = x;
}
static tm_ hpop(void) {
    tm_ r = H[0], x = H[--hn];
    int i = 0;
    for (;;) {
        int c = 2 * i + 1;
        if (c >= hn)
            break;
        if (c + 1 < hn && H[c + 1].t < H[c].t)
            c++;
        if (x.t <= H[c].t)
            break;
        H[i] = H[c];
        i = c;
    }
    if (hn)
        H[i] = x;
    return r;
}

static void outapp(conn *c, const char *p, size_t n) {
    if (c->outlen + n > c->outcap) {
        c->outcap = (c->outlen + n) * 2;
        c->out = realloc(c->out, c->outcap);
    }
    memcpy(c->out + c->outlen, p, n);
    c->outlen += n;
}
static void closec(conn *c) {
    epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, 0);
    close(c->fd);
    C[c->fd] = 0;
    free(c->in);
    free(c->out);
    free(c);
}
static int flushc(conn *c) {
    while (c->outoff < c->outlen) {
        ssize_t n = send(c->fd, c->out + c->outoff, c->outlen - c->outoff, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) {
                struct epoll_event e = {EPOLLIN | EPOLLOUT, {.fd = c->fd}};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                return 0;
            }
            return -1;
        }
        c->outoff += n;
    }
    if (c->outlen) {
        c->outlen = c->outoff = 0;
        struct epoll_event e = {EPOLLIN, {.fd = c->fd}};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
    }
    return 0;
}
static void build(void) {
    const char *content =
        "The capital of France is Paris. It lies on the Seine in the north of the country, and it has been the seat of "
        "government for most of the time since the tenth century. If you want, I can list the main sights too.";
    char body[65536];
    char *pad = calloc(1, content_len + 1);
    memset(pad, 'a', content_len);
    snprintf(body, sizeof body,
             "{\"id\":\"chatcmpl-BxYz0123456789abcdefghij\",\"object\":\"chat.completion\",\"created\":1760000000,"
             "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
             "\"content\":\"%s%s\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
             "\"usage\":{\"prompt_tokens\":412,\"completion_tokens\":58,\"total_tokens\":470,\"prompt_tokens_details\":"
             "{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_"
             "tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},\"service_tier\":"
             "\"default\",\"system_fingerprint\":\"fp_51db84afab\"}",
             content, pad);
    json_resp = malloc(70000);
    json_len = sprintf(
        json_resp,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: "
        "req_0123456789abcdef\r\nopenai-processing-ms: 12\r\nContent-Length: %zu\r\nConnection: keep-alive\r\n\r\n%s",
        strlen(body), body);
}
static struct wire WIRES[] = {{.mark = "/messages", .event = messages_event},
                              {.mark = "GenerateContent", .event = gemini_event},
                              {.mark = "", .event = chat_event}};
static void build_wire(struct wire *w) {
    int n = nchunks + 2;
    w->ev = calloc(n, sizeof *w->ev);
    w->evl = calloc(n, sizeof *w->evl);
    size_t tot = strlen(sse_head);
    for (int i = 0; i < n; i++) {
        char d[2048];
        w->event(d, i, n);
        w->ev[i] = malloc(strlen(d) + 32);
        w->evl[i] = sprintf(w->ev[i], "%zx\r\n%s\r\n%s", strlen(d), d, i == n - 1 ? "0\r\n\r\n" : "");
        tot += w->evl[i];
    }
    w->fire = malloc(tot);
    memcpy(w->fire, sse_head, w->firelen = strlen(sse_head));
    for (int i = 0; i < n; i++) {
        memcpy(w->fire + w->firelen, w->ev[i], w->evl[i]);
        w->firelen += w->evl[i];
    }
}
static void route(conn *c) { /* the wire, and whether a stream of it is asked for; Gemini's path says both */
    char *end = memchr(c->in, '\r', c->need);
    struct wire *w = WIRES;
    while (!memmem(c->in, end - c->in, w->mark, strlen(w->mark)))
        w++;
    c->wire = w;
    c->streaming = w->event == gemini_event || memmem(c->in, c->need, "\"stream\":true", 13) ||
                   memmem(c->in, c->need, "\"stream\": true", 14);
}
static int process(conn *c);
static int respond(conn *c) { /* request complete: produce response (or first part) */
    if (c->streaming == 1) {
        if (gap_ms == 0) {
            outapp(c, c->wire->fire, c->wire->firelen);
            c->streaming = 0;
        } else {
            outapp(c, sse_head, strlen(sse_head));
            outapp(c, c->wire->ev[0], c->wire->evl[0]);
            c->next_ev = 1;
            c->streaming = 2;
            c->pending = 1;
            hpush((tm_){now_us() + gap_ms * 1000, c->fd, c->gen});
        }
    } else
        outapp(c, json_resp, json_len);
    return flushc(c);
}
static int fire_timer(conn *c) {
    c->pending = 0;
    if (c->streaming == 2) {
        int n = nchunks + 2;
        outapp(c, c->wire->ev[c->next_ev], c->wire->evl[c->next_ev]);
        c->next_ev++;
        if (c->next_ev == n - 1) {
            outapp(c, c->wire->ev[n - 1], c->wire->evl[n - 1]);
            c->streaming = 0;
        } /* usage and [DONE] arrive together */
        else {
            c->pending = 1;
            hpush((tm_){now_us() + gap_ms * 1000, c->fd, c->gen});
        }
        if (flushc(c))
            return -1;
        if (!c->pending)
            return process(c);
        return 0;
    }
    if (respond(c))
        return -1;
    if (!c->pending)
        return process(c);
    return 0;
}
static int process(conn *c) {
    while (!c->pending && c->inlen) {
        if (!c->need) {
            char *e = memmem(c->in, c->inlen, "\r\n\r\n", 4);
            if (!e)
                return 0;
            size_t hl = e - c->in + 4, cl = 0;
            *e = 0;
            char *p = strcasestr(c->in, "\ncontent-length:");
            if (p)
                cl = strtoul(p + 16, 0, 10);
            p = strcasestr(c->in, "\ntransfer-encoding: chunked");
            *e = '\r';
            if (p) { /* chunked request body: accept when terminator is present */
                char *t = memmem(c->in + hl, c->inlen - hl, "0\r\n\r\n", 5);
                if (!t)
                    return 0;
                cl = t + 5 - (c->in + hl);
            }
            c->need = hl + cl;
        }
        if (c->inlen < c->need)
            return 0;
        route(c);
        memmove(c->in, c->in + c->need, c->inlen - c->need);
        c->inlen -= c->need;
        c->need = 0;
        if (first_ms) {
            c->pending = 1;
            hpush((tm_){now_us() + first_ms * 1000, c->fd, c->gen});
        } else if (respond(c))
            return -1;
    }
    return 0;
}
int main(int ac, char **av) {
    int port = atoi(av[1]);
    if (ac > 2)
        first_ms = atoi(av[2]);
    if (ac > 3)
        gap_ms = atoi(av[3]);
    if (ac > 4)
        nchunks = atoi(av[4]);
    if (ac > 5)
        content_len = atoi(av[5]);
    signal(SIGPIPE, SIG_IGN);
    build();
    for (size_t i = 0; i < sizeof WIRES / sizeof *WIRES; i++)
        build_wire(&WIRES[i]);
    int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(ls, (void *)&a, sizeof a) || listen(ls, 16384)) {
        perror("bind");
        return 1;
    }
    ep = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {.fd = ls}}, evs[512];
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
    uint32_t gen = 0;
    for (;;) {
        int to = -1;
        if (hn) {
            int64_t d = H[0].t - now_us();
            to = d <= 0 ? 0 : (int)((d + 999) / 1000);
        }
        int n = epoll_wait(ep, evs, 512, to);
        for (int i = 0; i < n; i++) {
            int fd = evs[i].data.fd;
            if (fd == ls) {
                int s;
                while ((s = accept4(ls, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    if (s >= MAXFD) {
                        close(s);
                        continue;
                    }
                    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, 4);
                    conn *c = calloc(1, sizeof *c);
                    c->fd = s;
                    c->gen = ++gen;
                    C[s] = c;
                    struct epoll_event x = {EPOLLIN, {.fd = s}};
                    epoll_ctl(ep, EPOLL_CTL_ADD, s, &x);
                }
                continue;
            }
            conn *c = C[fd];
            if (!c)
                continue;
            if (evs[i].events & EPOLLOUT)
                if (flushc(c)) {
                    closec(c);
                    continue;
                }
            if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                int dead = 0;
                for (;;) {
                    if (c->incap - c->inlen < 16384) {
                        c->incap = c->incap ? c->incap * 2 : 16384 * 2;
                        c->in = realloc(c->in, c->incap);
                    }
                    size_t room = c->incap - c->inlen;
                    ssize_t r = recv(fd, c->in + c->inlen, room, 0);
                    if (r > 0) {
                        c->inlen += r;
                        if ((size_t)r < room)
                            break;
                    } else {
                        if (r == 0 || (errno != EAGAIN))
                            dead = 1;
                        break;
                    }
                }
                if (!dead && process(c))
                    dead = 1;
                if (dead)
                    closec(c);
            }
        }
        int64_t t = now_us();
        while (hn && H[0].t <= t) {
            tm_ x = hpop();
            conn *c = C[x.fd];
            if (c && c->gen == x.gen)
                if (fire_timer(c))
                    closec(c);
        }
    }
}
