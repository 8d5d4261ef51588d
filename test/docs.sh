#!/bin/bash
# Verifies that what docs/ shows is true: each block that begins with ```sql, statements
# and answers alike, stands as it is in an expected output, which the regression tests
# compare with what the server prints. (Spaces at the ends of lines do not count.)

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
expected=$(sed 's/ *$//' expected/*.out)
number=0 failed=0 block='' where='' page=''

end_block() {
    number=$((number + 1))
    if [[ $'\n'$expected$'\n' == *$'\n'"$block"* ]]; then
        echo "ok $number - $where"
    else
        echo "not ok $number - $where is not in expected/"
        failed=1
    fi
    where='' block=''
}

for page in docs/*.md; do
    line=0
    while IFS= read -r text; do
        line=$((line + 1)) text=${text%"${text##*[! ]}"}
        if [ "$text" = '```sql' ]; then
            where="$page, line $line" block=''
        elif [ -n "$where" ] && [ "$text" = '```' ]; then
            end_block
        elif [ -n "$where" ]; then
            block+=$text$'\n'
        fi
    done < "$page"
done
echo "1..$number"
exit "$failed"
