"""storeread.py STORE URL - what a store holds, read by its own client, on whose Python this runs: for
each line of standard input, the name of a collection, one line of JSON on standard output, {id: [content,
its other properties, vector]}, or null where there is none of that name."""

import datetime
import json
import sys
import urllib.parse


class Weaviate:
    def __init__(self, host, port):
        import weaviate
        # scripts/weaviate puts gRPC on the next port; the checks ask the network for a newer client
        self.client = weaviate.connect_to_custom(
            http_host=host, http_port=port, http_secure=False, grpc_host=host, grpc_port=port + 1,
            grpc_secure=False, skip_init_checks=True)

    def close(self):
        self.client.close()

    def read(self, name):
        if not self.client.collections.exists(name):
            return None
        out = {}
        for o in self.client.collections.use(name).iterator(include_vector=True, cache_size=200):
            properties = {k: plain(v) for k, v in o.properties.items() if v is not None}
            out[str(o.uuid)] = [properties.pop("content", None), properties, o.vector.get("default")]
        return out


class Chroma:
    def __init__(self, host, port):
        import chromadb
        from chromadb.config import Settings
        self.client = chromadb.HttpClient(host, port, settings=Settings(anonymized_telemetry=False))

    def close(self):
        pass

    def read(self, name):
        if name not in [c.name for c in self.client.list_collections()]:
            return None
        got = self.client.get_collection(name, embedding_function=None).get(
            include=["documents", "metadatas", "embeddings"])
        return {i: [d, {k: v for k, v in (m or {}).items() if v is not None}, [float(x) for x in e]]
                for i, d, m, e in zip(got["ids"], got["documents"], got["metadatas"], got["embeddings"])}


def plain(value):
    """A property as JSON has it."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def main():
    store, url = sys.argv[1:]
    where = urllib.parse.urlsplit(url)
    reader = {"weaviate": Weaviate, "chroma": Chroma}[store](where.hostname, where.port)
    for line in sys.stdin:
        print(json.dumps(reader.read(line.rstrip("\n"))), flush=True)
    reader.close()


if __name__ == "__main__":
    main()
