"""char-CNN-RNN: a sentence becomes a vector that goes with the pictures it describes; the text encoder of StackGAN.

In: a sentence, in English letters.
Out: its embedding, 1024 numbers as published, for the methods that paint what a sentence says.
Paper: Reed, Akata, Lee, Schiele, "Learning Deep Representations of Fine-Grained Visual Descriptions", CVPR 2016.
Official code: github reedscot/cvpr2016 (no licence given) and reedscot/icml2016 (MIT).
Nothing of it is carried over; the alphabet, layers, objective, schedule and the names in Torch's files are facts read
from it. No released file was at hand: the reader is held to files of that form which the tests write, and its lower
part was tried on files that Lua Torch and nngraph wrote.

The network (`pinxit.text.char_cnn_rnn`) learns a structured joint embedding: the product of a picture's feature with
its own sentence's embedding is to exceed that with every other sentence of the batch by 1, and the other way round.
A batch has one photo of each of several classes. The features are either computed beforehand by a network of one's
choice (`--features`; the paper takes GoogLeNet's), and then fixed, or those of a small network that learns along.

Departures, all on purpose:
- Without classes in the data, or with `--no-by-class`, each photo is a class of its own.
- The small network that learns the features along, where none are given: nothing is to be downloaded.
- `--spare-equal`: equal captions in a batch are not told from each other; the presets of the paper do not use it.
- Capitals are read as small letters. The authors' data are in small letters; their demo passes capitals over.
- What stands for a flip and ten crops of each photo: the features file may have several rows a photo, one of which is
  drawn each time; photos for the small network are mirrored at random.
- No dropout, no bidirectional recurrence, no reversed sentences: options of the official code that its scripts leave
  off.
"""
