"""What dialects share, and none of them by name: nothing here imports a dialect.

- `base`: what a dialect is: its roles, and the values that they take and give
- `fields`, `preferences`, `jsontext`: how a client's request is read
- `translate`, `dropped`: what crosses from one dialect to another, and what does not
- `decoder`, `sse`, `sequencer`, `reported_counts`, `json_seals`: how an answer is read and told
- `refusals`, `google_status`: how providers say no
- `chat_steps`, `whole_answers`, `embedding_batches`: halves of upstream roles
- `images`, `image_header`, `vectors`, `files`: answers that are not text
"""
