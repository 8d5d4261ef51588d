#!/bin/bash
# Verifies that the pages of docs/ show the truth: each block that begins with ```sql,
# statements and answers alike, stands as it is in the expected output of the page's own
# regression test, docs_PAGE. (Spaces at the ends of lines do not count.)

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
number=0 failed=0

check_page() {
    local page=$1 expected where='' block text line=0

    expected=$'\n'$(sed 's/ *$//' "$2")$'\n'
    while IFS= read -r text; do
        line=$((line + 1)) text=${text%"${text##*[! ]}"}
        if [ "$text" = '```sql' ]; then
            where="$page, line $line" block=$'\n'
        elif [ -n "$where" ] && [ "$text" = '```' ]; then
            number=$((number + 1))
            if [[ $expected == *"$block"* ]]; then
                echo "ok $number - $where"
            else
                echo "not ok $number - $where is not in $2"
                failed=1
            fi
            where=''
        elif [ -n "$where" ]; then
            block+=$text$'\n'
        fi
    done < "$page"
}

for expected in expected/docs_*.out; do
    page=${expected#expected/docs_}
    check_page "docs/${page%.out}.md" "$expected"
done
echo "1..$number"
exit "$failed"
