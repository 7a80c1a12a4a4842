"""Models and algorithms: embeddings, towers, losses, retrieval and metrics; plain torch and FAISS.

The letters of shape comments, everywhere in this project:

====== ===================================================================
B      rows of a batch (users, or items)
N      items of the catalogue
U      users
D      width of a user or item vector
E      width of one feature's embedding
L      length of a history or list of values
T      targets of a batch; places of its histories, each of which has one
M      items of a batch
H      heads of an attention
K      how many candidates are asked for
V      entries of a vocabulary
R      rows of an embedding table
====== ===================================================================
"""
