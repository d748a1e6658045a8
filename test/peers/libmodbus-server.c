/*
 * A Modbus TCP server by libmodbus on loopback, for tests and benchmarks: libmodbus-server PORT WORDS BITS. WORDS is the
 * content of both register tables from address 0 on, BITS that of coils and discrete inputs: numbers with commas between.
 * One client at a time.
 */
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COUNT_MAX = 10000 };

/* Fills both tables with the numbers of the text; returns how many there are. */
static int parse(const char *text, long *numbers) {
  int count = 0;
  for (char *end; count < COUNT_MAX && *text != 0; text = *end == ',' ? end + 1 : end) {
    numbers[count] = strtol(text, &end, 10);
    if (end == text) exit(2);
    count++;
  }
  return count;
}

int main(int argc, char **argv) {
  static long words[COUNT_MAX], bits[COUNT_MAX];
  if (argc != 4) return 2;
  const int word_count = parse(argv[2], words), bit_count = parse(argv[3], bits);
  modbus_t *context = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
  modbus_mapping_t *map = modbus_mapping_new(bit_count, bit_count, word_count, word_count);
  if (context == NULL || map == NULL) return 1;
  for (int i = 0; i < word_count; i++) map->tab_registers[i] = map->tab_input_registers[i] = (uint16_t)words[i];
  for (int i = 0; i < bit_count; i++) map->tab_bits[i] = map->tab_input_bits[i] = (uint8_t)bits[i];
  int listener = modbus_tcp_listen(context, 1);
  if (listener < 0) return 1;
  for (;;) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    if (modbus_tcp_accept(context, &listener) < 0) return 1;
    /* libmodbus does so for clients only; without it the replies to requests in flight wait for delayed ACKs, 40 ms. */
    const int on = 1;
    setsockopt(modbus_get_socket(context), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (int length; (length = modbus_receive(context, query)) >= 0;)
      if (length > 0) modbus_reply(context, query, length, map);
    modbus_close(context);
  }
}
