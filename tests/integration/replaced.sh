#!/bin/bash
# What a real Chroma holds of a document: every property, and after the object was replaced by one that
# says less, nothing of the old one.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
start_chroma

# objects: prints what the collection holds, each object as one line of JSON, without times and digests.
cat >objects.py <<'END'
import json, sys, urllib.request

BASE = sys.argv[1] + "/api/v2/tenants/default_tenant/databases/default_database/collections"


def ask(path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(BASE + path, data, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=600))


got = ask("/%s/get" % ask("/Code")["id"], {"include": ["metadatas", "documents", "embeddings"]})
for i, meta, text, vector in sorted(zip(*(got[n] for n in ("ids", "metadatas", "documents", "embeddings")))):
    for name in "synced_at", "sync_digest":
        if not meta.pop(name):
            sys.exit("no " + name)
    meta = {n: v for n, v in meta.items() if v is not None}
    print(json.dumps(dict(meta, id=i, content=text, vector=vector), sort_keys=True))
END
objects() { python3 objects.py "$chroma_url"; }
options=(--collection Code --embed hash:8 --flush-ms 5)
bare='{"repo":"ServiceA","path":"src/main.py","content":"import os\n"}'

run "${options[@]}" <<<"$bare"
is "$rc" 0 'stored'
objects >bare
python3 - bare >properties <<'END'
import json, sys
o = json.loads(open(sys.argv[1]).read())
assert len(o.pop("vector")) == 8
print(json.dumps(o, sort_keys=True))
END
cat >want <<'END'
{"chunk_count": 1, "chunk_index": 0, "content": "import os\n", "content_hash": "HASH", "end_line": 1, "extension": "py", "file_name": "main.py", "file_path": "src/main.py", "id": "e417b55a-2ea2-5a2a-9306-c568b130e26b", "language": "Python", "line_count": 1, "mime_type": "text/x-python", "repository": "ServiceA", "size_bytes": 10, "start_line": 1, "truncated": false}
END
sed -i "s/HASH/$(printf 'import os\n' | sha256sum | cut -d' ' -f1)/" want
same_file properties want 'with every property that is known'

run "${options[@]}" <<'END'
{"repo":"ServiceA","path":"src/main.py","content":"part","is_truncated":true,"size":7,"mime":"text/odd","charset":"x","line_count":9,"metadata":{"a":1},"vector":[1,2,3,4,5,6,7,8]}
END
is "$rc" 0 'replaced by one that says more'
like "$(objects)" '"charset": "x".*"content": "part".*"line_count": 9.*"metadata": "\{\\"a\\":1\}".*"mime_type": "text/odd".*"size_bytes": 7.*"truncated": true.*"vector": \[1.0, 2.0' \
	'all of it is there'

run "${options[@]}" <<<"$bare"
is "$rc" 0 'and back'
objects >again
same_file again bare 'nothing is left of the other'

run "${options[@]}" <<'END'
{"repo":"ServiceA","op":"rename","old_path":"src/main.py","path":"NOTES","content":"import os\n"}
END
is "$rc $(objects | grep -c '"language"\|"extension"\|main.py') $(objects | grep -c '"file_path": "NOTES"')" '0 0 1' \
	'renamed, it has nothing of its old name'
done_testing
